//! Random bytes of the kernel, fit for keys. getrandom(2).
//!
//! Waits only before the kernel's generator is seeded, early in the boot. Never: keeps what it gives out.

use super::failure::{Tried, check_size, uninterrupted};
use std::io;

/// Fills `bytes` with random ones.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        done += uninterrupted(|| {
            // SAFETY: pointer and length are those of `rest`, exclusively ours through the call.
            check_size(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) })
        })
        .tried(|| "get random bytes".into())?;
    }
    Ok(())
}

/// 32 random bytes: a secret.
pub fn secret() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_filled_and_no_two_are_alike() {
        let mut long = vec![0; 4096];
        fill(&mut long).unwrap();
        assert!(long.chunks(64).all(|part| part.iter().any(|byte| *byte != 0)));
        assert_ne!(secret().unwrap(), secret().unwrap());
        fill(&mut []).unwrap();
    }
}
