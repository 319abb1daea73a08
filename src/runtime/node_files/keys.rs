use std::path::Path;

use crate::files::{self, LockedFile};
use crate::keys::SigningType;
use crate::store::KeyFile;

use super::{NodeFiles, NodeFilesError, OpenOptions};

/// What changes the key file.
impl NodeFiles {
    /// Adds a new signing key to the key file; returns its index.
    ///
    /// # Errors
    /// [`NodeFilesError::File`], [`NodeFilesError::Keys`].
    pub fn add_signing_key(
        &mut self,
        kind: SigningType,
        rng: &mut dyn rand_core::CryptoRng,
    ) -> Result<usize, NodeFilesError> {
        let mut index = 0;
        self.edit_keys(|mut keys| {
            index = keys.add_signing_key(kind, rng);
            keys
        })?;
        Ok(index)
    }

    /// Sees to it that the node has a signing key of this type and uses it: makes one if there is none, and names the type
    /// in `keytypes` if that is set. Says whether a key was made.
    ///
    /// # Errors
    /// As [`NodeFiles::save`], and [`NodeFilesError::Keys`].
    pub fn need_key_type(
        &mut self,
        kind: SigningType,
        rng: &mut dyn rand_core::CryptoRng,
    ) -> Result<bool, NodeFilesError> {
        let missing = self.key_file.public_keys(None).all(|(_, public)| public.signing_type() != kind);
        if missing {
            self.add_signing_key(kind, rng)?;
        }
        if let Some(types) = self.settings.key_types.clone()
            && !types.iter().any(|number| u64::from(*number) == kind.number())
        {
            let listed: Vec<_> = types.iter().map(|number| u64::from(*number)).chain([kind.number()]).collect();
            let text = listed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            self.edit(|config| config.set("", "keytypes", text))?;
        }
        Ok(missing)
    }

    /// Replaces the key file by what `change` makes of it.
    ///
    /// # Errors
    /// [`NodeFilesError::File`], [`NodeFilesError::Keys`].
    ///
    /// ```
    /// use kafkacrypto::runtime::{NodeFiles, OpenOptions};
    /// # let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("n.config");
    /// let mut files = NodeFiles::open_or_create(&path, "n", OpenOptions::default(), &mut rng).unwrap();
    /// files.edit_keys(|keys| keys.with_versions(&[5])).unwrap();
    /// assert_eq!(files.key_file().versions(), [5]);
    /// ```
    pub fn edit_keys(&mut self, change: impl FnOnce(KeyFile) -> KeyFile) -> Result<(), NodeFilesError> {
        self.key_file = edit_key_file(&self.key_path, self.options, change)?;
        Ok(())
    }
}

/// Replaces a key file by what `change` makes of it, under a lock; returns what it holds then. Left alone if that is what it
/// held before.
///
/// # Errors
/// [`NodeFilesError::File`], [`NodeFilesError::Keys`].
pub fn edit_key_file(
    path: &Path,
    options: OpenOptions,
    change: impl FnOnce(KeyFile) -> KeyFile,
) -> Result<KeyFile, NodeFilesError> {
    let mut file = LockedFile::open(path, options.secret())?;
    let before = file.read()?;
    let keys = change(decode_keys(path, &before)?);
    let after = keys.encode();
    if after != before {
        file.replace(&after)?;
    }
    Ok(keys)
}

pub(super) fn read_key_file(path: &Path, options: OpenOptions) -> Result<KeyFile, NodeFilesError> {
    decode_keys(path, &files::read(path, options.secret())?)
}

fn decode_keys(path: &Path, bytes: &[u8]) -> Result<KeyFile, NodeFilesError> {
    KeyFile::decode(bytes).map_err(|reason| NodeFilesError::Keys { path: path.to_owned(), reason })
}
