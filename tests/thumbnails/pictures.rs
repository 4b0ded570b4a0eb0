//! Pictures, good and bad.

use std::io::{Cursor, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};
use image::{DynamicImage, ImageFormat, RgbImage};

pub(crate) const FORMATS: [(&str, ImageFormat); 4] = [
    ("image/png", ImageFormat::Png),
    ("image/jpeg", ImageFormat::Jpeg),
    ("image/gif", ImageFormat::Gif),
    ("image/webp", ImageFormat::WebP),
];

/// A picture that is red on its left half and blue on its right.
pub(crate) fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let colour = |x, _| if x < width / 2 { image::Rgb([220, 20, 20]) } else { image::Rgb([20, 20, 220]) };
    encoded(&RgbImage::from_fn(width, height, colour).into(), format)
}

/// A picture that does not compress well.
pub(crate) fn noise(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut state = 1u32;
    let colour = |x: u32, y: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(x + (state >> 29)) as u8, (y + (state >> 28)) as u8, (state >> 27) as u8])
    };
    encoded(&RgbImage::from_fn(width, height, colour).into(), format)
}

pub(crate) fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

/// The width and height that a PNG says it has.
pub(crate) fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let header = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(..16)?;
    let number = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    Some((number(8)?, number(12)?))
}

/// A PNG of 30 001 × 30 001 grey pixels in some hundred kilobytes: 900 MB once it is decoded.
pub(crate) fn bomb() -> Vec<u8> {
    png(30_001, &[chunk(b"IDAT", &zeros(900))])
}

/// A small PNG whose colour profile is a gigabyte once it is inflated.
pub(crate) fn profile_bomb() -> Vec<u8> {
    let profile = [b"x\0\0", &*zeros(1024)].concat();
    png(16, &[chunk(b"iCCP", &profile), chunk(b"IDAT", &zeros(1))])
}

/// A PNG whose header promises more pixels than can be.
pub(crate) fn liar() -> Vec<u8> {
    png(u32::MAX >> 1, &[chunk(b"IDAT", &zeros(1))])
}

fn png(side: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let side = side.to_be_bytes();
    let header = [&side[..], &side, &[8, 0, 0, 0, 0]].concat();
    let chunks = chunks.concat();
    [b"\x89PNG\r\n\x1a\n", &*chunk(b"IHDR", &header), &chunks, &chunk(b"IEND", &[])].concat()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    let mut chunk = Vec::with_capacity(data.len() + 12);
    chunk.write_all(&(data.len() as u32).to_be_bytes()).expect("memory");
    chunk.extend([&kind[..], data, &crc.sum().to_be_bytes()].concat());
    chunk
}

/// `megabytes` of zeros, deflated. All but the first are the same few bytes again, so that it takes no time to make them.
fn zeros(megabytes: usize) -> Vec<u8> {
    let mut stream = Compress::new(Compression::best(), true);
    let mut once = || {
        let mut piece = Vec::with_capacity(1 << 16);
        stream.compress_vec(&[0; 1 << 20], &mut piece, FlushCompress::Sync).expect("zeros");
        piece
    };
    let (first, second) = (once(), once());
    [first, second.repeat(megabytes - 1)].concat()
}
