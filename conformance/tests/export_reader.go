// SPDX-License-Identifier: Apache-2.0

// A reader of energy counters in Go, and the suite's cases held against it, with nothing but the files of an export.
//
//	export_reader [--no-wrap] EXPORT CASE
//
// It adds up differences of energy_uj and puts right one wrap by the zone's range and one step. With --no-wrap it does
// not. That is all it knows: it bounds no power, so it takes every step backward for a wrap. Prints a line for each
// expectation of powercap that it does not meet; exit 0 where it meets all, 1 where not, 2 for what is no case.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

type expectation struct {
	Interface, Domain, Energy string
	From, To                  int
	Least                     *int64 `json:"least_uj"`
	Most                      *int64 `json:"most_uj"`
}

type exported struct {
	ID     string
	Steps  []string
	Expect []expectation
}

// What is said of a domain after a sample; nil of one that is not listed.
type answer struct {
	known    bool
	energyUJ int64
}

type zone struct {
	seen, lost    bool
	lastUJ, sumUJ int64
}

func die(about string, err error) {
	fmt.Fprintf(os.Stderr, "export_reader: %s: %v\n", about, err)
	os.Exit(2)
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSuffix(string(text), "\n"), 10, 64)
}

// The names from the top of the tree; a parent is called as its child is, without what follows the last "%3A".
func pathOf(class, entry string) string {
	name := entry
	if text, err := os.ReadFile(filepath.Join(class, entry, "name")); err == nil {
		name = strings.TrimSuffix(string(text), "\n")
	}
	above := entry[:strings.LastIndex(entry, "%3A")]
	switch {
	case strings.Contains(above, "%3A"):
		return pathOf(class, above) + "/" + name
	case above == "intel-rapl":
		return name
	}
	return above + "/" + name
}

// The range is that of 2^32 - 1 steps, each worth a whole number of nanojoules; the period is one step more.
func periodUJ(rangeUJ int64) int64 {
	const steps = 1<<32 - 1
	unitNJ := (rangeUJ*1000 + steps - 1) / steps
	return unitNJ << 32 / 1000
}

func (z *zone) book(directory string, first, noWrap bool) answer {
	energyUJ, err := number(filepath.Join(directory, "energy_uj"))
	if err != nil {
		z.lost = z.lost || !z.seen
		return answer{}
	}
	if z.seen {
		spentUJ := energyUJ - z.lastUJ
		if spentUJ < 0 && !noWrap {
			rangeUJ, err := number(filepath.Join(directory, "max_energy_range_uj"))
			z.lost = z.lost || err != nil
			spentUJ += periodUJ(rangeUJ)
		}
		z.sumUJ += spentUJ
	} else {
		z.lost = !first
	}
	z.seen, z.lastUJ = true, energyUJ
	return answer{!z.lost, z.sumUJ}
}

func counted(path string) bool {
	package_, below, nested := strings.Cut(path, "/")
	return strings.HasPrefix(package_, "package-") && (!nested || below == "dram")
}

// Take every sample; what is said after each, by domain.
func read(directory string, steps []string, noWrap bool) []map[string]answer {
	zones := map[string]*zone{}
	var said []map[string]answer
	for number, step := range steps {
		class := filepath.Join(directory, step, "class/powercap")
		entries, _ := os.ReadDir(class) // one that is not there is a machine without zones
		now := map[string]answer{}
		for _, entry := range entries {
			if !strings.Contains(entry.Name(), "%3A") {
				continue // a control type
			}
			path := pathOf(class, entry.Name())
			if zones[path] == nil {
				zones[path] = &zone{}
			}
			now[path] = zones[path].book(filepath.Join(class, entry.Name()), number == 0, noWrap)
		}
		total, any := answer{known: true}, false
		for path := range zones {
			if counted(path) {
				any = true
				total.known = total.known && now[path].known
				total.energyUJ += now[path].energyUJ
			}
		}
		total.known = total.known && any
		now["total"] = total
		said = append(said, now)
	}
	return said
}

func right(wanted expectation, first, last map[string]answer) (bool, answer) {
	said, listed := last[wanted.Domain]
	if wanted.From > 0 {
		before := first[wanted.Domain]
		said = answer{said.known && before.known, said.energyUJ - before.energyUJ}
	}
	switch wanted.Energy {
	case "absent":
		return !listed, said
	case "listed":
		return listed, said
	case "error":
		return listed && !said.known, said
	case "unknown":
		return !said.known, said
	}
	if !said.known {
		return wanted.Energy != "truth" && wanted.Energy != "zero", said
	}
	return said.energyUJ >= *wanted.Least && (wanted.Most == nil || said.energyUJ <= *wanted.Most), said
}

func main() {
	words := os.Args[1:]
	noWrap := len(words) == 3 && words[0] == "--no-wrap"
	if len(words) != 2 && !noWrap {
		die("wrong words", fmt.Errorf("usage: export_reader [--no-wrap] EXPORT CASE"))
	}
	directory := filepath.Join(words[len(words)-2], words[len(words)-1])
	text, err := os.ReadFile(filepath.Join(directory, "case.json"))
	if err != nil {
		die(directory, fmt.Errorf("is no case of an export"))
	}
	var about exported
	if err := json.Unmarshal(text, &about); err != nil {
		die(directory, err)
	}
	said := read(directory, about.Steps, noWrap)
	wrong := 0
	for _, wanted := range about.Expect {
		if wanted.Interface != "powercap" {
			continue
		}
		if ok, answer := right(wanted, said[wanted.From], said[wanted.To]); !ok {
			wrong++
			fmt.Printf("%s: %s: %d uJ (known: %t), right is %s\n", about.ID, wanted.Domain, answer.energyUJ, answer.known, wanted.Energy)
		}
	}
	if wrong > 0 {
		os.Exit(1)
	}
}
