//! Pictures, decoded and made small.

use std::io::Cursor;

use jpeg_encoder::{ColorType, Encoder};
use zune_jpeg::JpegDecoder;

use super::{RealJob, yard::random};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "images";
    vec![
        RealJob::new(family, "png", 60, decode_png, |_, nth| encode_png(nth, 512)),
        RealJob::new(family, "png-icon", 4_000, decode_png, |_, nth| encode_png(nth, 48)),
        RealJob::new(family, "jpeg", 80, decode_jpeg, |_, nth| encode_jpeg(nth, 512)),
        RealJob::new(family, "thumbnail", 16, thumbnail, |_, nth| encode_jpeg(nth, 1024)),
    ]
}

/// A square picture of `side` pixels: a gradient with some noise, three bytes for each pixel.
fn picture(nth: usize, side: usize) -> Vec<u8> {
    let noise = random(nth as u64).map(|n| (n % 16) as usize);
    let pixels = (0..side * side).zip(noise).flat_map(|(n, noise)| {
        let (x, y) = (n % side, n / side);
        [x + noise, y + noise, x * y / side + nth].map(|value| (value % 256) as u8)
    });
    pixels.collect()
}

fn encode_png(nth: usize, side: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a vector takes everything");
    writer.write_image_data(&picture(nth, side)).expect("there are three bytes for each pixel");
    writer.finish().expect("a vector takes everything");
    bytes
}

fn encode_jpeg(nth: usize, side: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = u16::try_from(side).expect("pictures are small");
    let encoder = Encoder::new(&mut bytes, 85);
    encoder
        .encode(&picture(nth, side.into()), side, side, ColorType::Rgb)
        .expect("there are three bytes for each pixel");
    bytes
}

fn decode_png(bytes: Vec<u8>) -> Vec<u8> {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().expect("it is a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("pictures are small")];
    reader.next_frame(&mut pixels).expect("it is a whole PNG");
    pixels
}

fn decode_jpeg(bytes: Vec<u8>) -> Vec<u8> {
    JpegDecoder::new(Cursor::new(bytes)).decode().expect("it is a JPEG")
}

/// A photograph at an eighth of its size, as a JPEG again.
fn thumbnail(bytes: Vec<u8>) -> Vec<u8> {
    let mut decoder = JpegDecoder::new(Cursor::new(bytes));
    let pixels = decoder.decode().expect("it is a JPEG");
    let (width, height) = decoder.dimensions().expect("it has been decoded");
    let (width, height) = (width / 8, height / 8);
    let small: Vec<u8> = (0..width * height)
        .flat_map(|n| {
            let corner = (n / width * 8 * width * 8 + n % width * 8) * 3;
            [0, 1, 2].map(|colour| mean(&pixels, corner + colour, width * 8 * 3))
        })
        .collect();
    let mut bytes = Vec::new();
    let side = |length| u16::try_from(length).expect("pictures are small");
    Encoder::new(&mut bytes, 80)
        .encode(&small, side(width), side(height), ColorType::Rgb)
        .expect("there are three bytes for each pixel");
    bytes
}

/// The mean of a colour over eight by eight pixels.
fn mean(pixels: &[u8], first: usize, line: usize) -> u8 {
    let sum: u32 = (0..64).map(|n| u32::from(pixels[first + n / 8 * line + n % 8 * 3])).sum();
    (sum / 64) as u8
}
