//! An evaluator's work, beside the multiplications that it consists of.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::blinding::{Blinding, deal};

use crate::{
    figures::{Figure, Series},
    setting::Scale,
};

pub(crate) fn measure(_: &Path, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let time = Duration::from_millis(scale.choose(1_500, 6_000));
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let dealt = deal(1, 1, &mut rng)?;
    let mut figures = Vec::new();
    for batch in [1_usize, 100, 1_000] {
        let inputs = (0..batch).map(|n| n.to_be_bytes().to_vec()).collect();
        let blinding = Blinding::new(inputs, &mut rng)?;
        let point = RistrettoPoint::from_uniform_bytes(&[7; 64]);
        let scalar = Scalar::from_bytes_mod_order([9; 32]);
        let (mut evaluated, mut multiplied) = (Series::default(), Series::default());
        let started = Instant::now();
        while started.elapsed() < time {
            let from = Instant::now();
            black_box(dealt.shares[0].evaluate(blinding.blinded(), &mut rng)?);
            evaluated.push(batch as f64 / from.elapsed().as_secs_f64());
            let from = Instant::now();
            for _ in 0..batch {
                black_box(black_box(point) * black_box(scalar));
            }
            multiplied.push(batch as f64 / from.elapsed().as_secs_f64());
        }
        figures.push(
            Figure::new(format!("evaluations, batches of {batch}"), "/s", &evaluated).beside(
                "bare multiplications",
                &multiplied,
                None,
            ),
        );
    }
    Ok(figures)
}
