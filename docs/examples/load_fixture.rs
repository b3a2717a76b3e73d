// SPDX-License-Identifier: Apache-2.0

//! Load what `raplica generate kabylake DIR` wrote, and list its zones.

use std::{collections::BTreeMap, env, fs, io, path::Path};

/// The energy in microjoules of each zone below a /sys root, by the zone's id.
fn load(sys: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut zones = BTreeMap::new();
    for entry in fs::read_dir(sys.join("class/powercap"))? {
        let zone = entry?;
        if let Ok(text) = fs::read_to_string(zone.path().join("energy_uj")) {
            let energy_uj = text.trim().parse();
            let energy_uj =
                energy_uj.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            zones.insert(zone.file_name().to_string_lossy().into_owned(), energy_uj);
        }
    }
    Ok(zones)
}

fn main() -> io::Result<()> {
    let sys = env::args().nth(1).expect("the path of a /sys root");
    for (zone, energy_uj) in load(Path::new(&sys))? {
        println!("{zone} {energy_uj}");
    }
    Ok(())
}
