// SPDX-License-Identifier: Apache-2.0

// An energy meter as people write them in Go: fixed paths, one static binary, no C library that could be stood before.
// It meters every zone of powercap and the package of processor 0 through its registers.
//
// meter MILLISECONDS prints a line for each: `intel-rapl:0 package-0 52.031005` (joules), `msr 0x611 52.030029`.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	powercap           = "/sys/class/powercap/"
	device             = "/dev/cpu/0/msr"
	msrRaplPowerUnit   = 0x606
	msrPkgEnergyStatus = 0x611
)

type zone struct {
	id, name          string
	rangeUJ, beforeUJ uint64
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func attribute(id, file string) string {
	text, err := os.ReadFile(powercap + id + "/" + file)
	fail(err)
	return strings.TrimSuffix(string(text), "\n")
}

func number(id, file string) uint64 {
	value, err := strconv.ParseUint(attribute(id, file), 10, 64)
	fail(err)
	return value
}

func msr(registers *os.File, address int64) uint64 {
	var word [8]byte
	_, err := registers.ReadAt(word[:], address)
	fail(err)
	return binary.LittleEndian.Uint64(word[:])
}

func main() {
	window := 1000
	if len(os.Args) > 1 {
		given, err := strconv.Atoi(os.Args[1])
		fail(err)
		window = given
	}
	entries, err := os.ReadDir(powercap)
	fail(err)
	var zones []zone
	for _, entry := range entries {
		// Zones have a colon, control types have none.
		if id := entry.Name(); strings.Contains(id, ":") {
			zones = append(zones, zone{id: id, name: attribute(id, "name"), rangeUJ: number(id, "max_energy_range_uj")})
		}
	}
	registers, err := os.Open(device)
	fail(err)
	joulesPerStep := 1 / float64(uint64(1)<<(msr(registers, msrRaplPowerUnit)>>8&0x1f))

	for i := range zones {
		zones[i].beforeUJ = number(zones[i].id, "energy_uj")
	}
	before := uint32(msr(registers, msrPkgEnergyStatus))
	time.Sleep(time.Duration(window) * time.Millisecond)
	for _, z := range zones {
		after := number(z.id, "energy_uj")
		// The counter starts again one step after its range: a few dozen microjoules that do not matter here.
		if after < z.beforeUJ {
			after += z.rangeUJ
		}
		fmt.Printf("%s %s %.6f\n", z.id, z.name, float64(after-z.beforeUJ)/1e6)
	}
	steps := uint32(msr(registers, msrPkgEnergyStatus)) - before
	fmt.Printf("msr 0x611 %.6f\n", float64(steps)*joulesPerStep)
}
