//! The timer frequency a kernel was configured with.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::x86_64::IMAGE_IN_TREE;

/// More than any kernel configuration has.
const CONFIG_LIMIT: u64 = 4 << 20;

/// `CONFIG_HZ` of the kernel whose image is at `image`: from the configuration beside it in the cache,
/// or from that of the tree it was built in. `None` where neither is there.
pub fn timer_hz(image: &Path) -> Option<u32> {
    let config = if image.ends_with(IMAGE_IN_TREE) {
        // What the image was built with; `.config` may have been edited since.
        let levels = Path::new(IMAGE_IN_TREE).components().count();
        image
            .ancestors()
            .nth(levels)?
            .join("include/config/auto.conf")
    } else {
        image.with_file_name(".config")
    };
    let mut text = String::new();
    File::open(config)
        .ok()?
        .take(CONFIG_LIMIT)
        .read_to_string(&mut text)
        .ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_HZ="))?;
    value.parse().ok().filter(|hz| (1..=10_000).contains(hz))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn is_read_from_the_configuration_the_image_was_built_with() {
        let dir = tempfile::tempdir().unwrap();
        let entry = dir.path().join("bzImage");
        assert_eq!(timer_hz(&entry), None);
        fs::write(
            dir.path().join(".config"),
            "CONFIG_HZ_250=y\nCONFIG_HZ=250\n",
        )
        .unwrap();
        assert_eq!(timer_hz(&entry), Some(250));

        let conf = dir.path().join("include/config");
        fs::create_dir_all(&conf).unwrap();
        fs::write(conf.join("auto.conf"), "CONFIG_HZ=1000\n").unwrap();
        assert_eq!(timer_hz(&dir.path().join(IMAGE_IN_TREE)), Some(1000));
        fs::write(conf.join("auto.conf"), "CONFIG_HZ=99999999\n").unwrap();
        assert_eq!(timer_hz(&dir.path().join(IMAGE_IN_TREE)), None);
    }
}
