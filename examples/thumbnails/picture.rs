//! The job: from the bytes of a picture to its thumbnail. Runs in a worker process.
//!
//! Limits that can be looked up in the picture's header are checked here, because that makes a better answer. They are no wall: a
//! decoder with a bug does not keep to them. The walls are those of the pool, in `decoder.rs`.

use std::{fmt, io::Cursor};

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits,
    metadata::Orientation,
};
use serde::{Deserialize, Serialize};

use crate::hostile;

/// How many pixels a picture may have.
const PIXELS: u64 = 40_000_000;

/// How wide or high it may be.
const SIDE: u32 = 30_000;

/// How much memory a decoder may take besides, as far as it counts that.
const MEMORY: u64 = 256 << 20;

/// A thumbnail is at most this many times as high as it is to be wide.
const TALLEST: u32 = 4;

/// What a picture was and has become.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Thumbnail {
    pub(crate) png: Bytes,
    /// Width and height of the picture.
    pub(crate) size: (u32, u32),
    /// The picture's own content type.
    pub(crate) content_type: String,
}

/// What is wrong with a picture.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Defect {
    NotAnImage,
    TooManyPixels,
    /// Why it could not be decoded.
    Broken(String),
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnImage => f.write_str("this is no PNG, JPEG, GIF or WebP"),
            Self::TooManyPixels => {
                write!(f, "a picture may have at most {} million pixels", PIXELS / 1_000_000)
            }
            Self::Broken(why) => write!(f, "the picture cannot be decoded: {why}"),
        }
    }
}

impl From<ImageError> for Defect {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooManyPixels,
            other => Self::Broken(other.to_string()),
        }
    }
}

/// Makes a thumbnail at most `width` wide, never larger than the picture. Of an animation it shows the first picture.
pub(crate) fn thumbnail((bytes, width): (Bytes, u32)) -> Result<Thumbnail, Defect> {
    hostile::obey(&bytes);
    let format = image::guess_format(&bytes).map_err(|_| Defect::NotAnImage)?;
    let content_type = content_type(format).ok_or(Defect::NotAnImage)?;
    if format == ImageFormat::Jpeg && !is_whole_jpeg(&bytes) {
        // The decoder would fill what is missing with grey.
        return Err(Defect::Broken("it ends too early".to_owned()));
    }
    let mut reader = ImageReader::with_format(Cursor::new(&bytes), format);
    reader.limits(limits());
    let mut decoder = reader.into_decoder()?;
    let size = decoder.dimensions();
    if u64::from(size.0) * u64::from(size.1) > PIXELS {
        return Err(Defect::TooManyPixels);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder)?;
    let small = upright(shrunk(picture, width, orientation), orientation);
    Ok(Thumbnail { png: png(&small)?, size, content_type: content_type.to_owned() })
}

fn content_type(format: ImageFormat) -> Option<&'static str> {
    Some(match format {
        ImageFormat::Png => "image/png",
        ImageFormat::Jpeg => "image/jpeg",
        ImageFormat::Gif => "image/gif",
        ImageFormat::WebP => "image/webp",
        _ => return None,
    })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE);
    limits.max_image_height = Some(SIDE);
    limits.max_alloc = Some(MEMORY);
    limits
}

/// Shrinks a picture so that it is at most `width` wide once it stands upright.
fn shrunk(picture: DynamicImage, width: u32, orientation: Orientation) -> DynamicImage {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};

    let height = width * TALLEST;
    let lies = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (width, height) = if lies { (height, width) } else { (width, height) };
    match picture.width() <= width && picture.height() <= height {
        true => picture,
        false => picture.thumbnail(width, height),
    }
}

fn upright(mut picture: DynamicImage, orientation: Orientation) -> DynamicImage {
    picture.apply_orientation(orientation);
    picture
}

fn png(picture: &DynamicImage) -> ImageResult<Bytes> {
    let mut png = Cursor::new(Vec::new());
    match picture.color().has_alpha() {
        true => picture.to_rgba8().write_to(&mut png, ImageFormat::Png)?,
        false => picture.to_rgb8().write_to(&mut png, ImageFormat::Png)?,
    }
    Ok(png.into_inner().into())
}

/// Whether the end of a JPEG is there. Something else may follow it, as some cameras append a film.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: u8 = 0xd9;

    let mut at = 2;
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2) {
        match marker {
            END => return true,
            // Fill bytes, and markers without a length.
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if marker == START_OF_SCAN {
                    at = end_of_scan(bytes, at);
                }
            }
        }
    }
    false
}

/// Returns where the next marker is. Inside a scan 0xff is followed by 0, or by the number of a restart.
fn end_of_scan(bytes: &[u8], from: usize) -> usize {
    let scan = bytes.get(from..).unwrap_or_default();
    let inside = |pair: &[u8]| pair[0] != 0xff || matches!(pair[1], 0 | 0xd0..=0xd7);
    scan.windows(2).position(|pair| !inside(pair)).map_or(bytes.len(), |length| from + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_jpeg_is_found_wherever_it_is() {
        let head = b"\xff\xd8\xff\xe0\x00\x04\xff\xd9"; // a segment in which the end seems to be
        let scan = b"\xff\xff\xda\x00\x02\x01\xff\x00\x02\xff\xd3\x03";
        let end = b"\xff\xd9";
        let table: [(&[&[u8]], bool); 8] = [
            (&[head, scan, end], true),
            (&[head, scan, scan, end, b"\xff\xda and a film"], true),
            (&[head, end], true),
            (&[head, scan], false),
            (&[head, scan, b"\xff"], false),
            (&[head], false),
            (&[head, b"\xff\xe1\xff\xff", end], false),
            (&[], false),
        ];
        for (pieces, is_whole) in table {
            assert_eq!(is_whole_jpeg(&pieces.concat()), is_whole, "{pieces:x?}");
        }
    }
}
