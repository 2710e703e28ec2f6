//! Names that live together.

use std::collections::HashMap;

/// Names that live together, on systems that ignore case too.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, (String, bool)>);

impl Names {
    /// Notes a path and the directories above it. `Err` is the path that it collides
    /// with: the same file, one that differs in case only, or a directory of that name.
    ///
    /// # Errors
    /// That path.
    pub fn add(&mut self, path: &str, is_dir: bool) -> Result<(), String> {
        let ends = path
            .match_indices('/')
            .map(|(i, _)| (i, true))
            .chain([(path.len(), is_dir)]);
        for (end, dir) in ends {
            let part = path.get(..end).unwrap_or(path);
            let key = part.to_lowercase();
            match self.0.get(&key) {
                None => {
                    self.0.insert(key, (part.to_owned(), dir));
                }
                Some((spelled, was_dir)) => {
                    if spelled != part || *was_dir != dir || !dir {
                        return Err(spelled.clone());
                    }
                }
            }
        }
        Ok(())
    }
}
