// SPDX-License-Identifier: Apache-2.0

// Load what `raplica generate kabylake kabylake.zip --format zip --layout flat` wrote, and list its zones.
package main

import (
	"archive/zip"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"testing/fstest"
)

// load gives the /sys root in the archive as a file system, its names with their colons again.
func load(file string) (fs.FS, error) {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	sys := fstest.MapFS{}
	for _, entry := range archive.File {
		name, err := url.PathUnescape(entry.Name)
		if err != nil {
			return nil, err
		}
		content, err := fs.ReadFile(archive, entry.Name)
		if err != nil {
			return nil, err
		}
		sys[name] = &fstest.MapFile{Data: content, Mode: entry.Mode()}
	}
	return sys, nil
}

func main() {
	sys, err := load(os.Args[1])
	if err != nil {
		panic(err)
	}
	zones, _ := fs.Glob(sys, "class/powercap/*/energy_uj")
	for _, zone := range zones {
		energy, _ := fs.ReadFile(sys, zone)
		fmt.Printf("%s %s", path.Base(path.Dir(zone)), energy)
	}
}
