// Package partition finds the partitions of the device's disk by the names
// that its table gives them, as Linux lists them.
package partition

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sys is where Linux lists block devices.
const Sys = "/sys/class/block"

// Nodes holds the path of each partition's node by the partition's name.
type Nodes map[string]string

// Scan reads the names of all partitions that the kernel knows, out of the
// folder sys ([Sys]); their nodes are in the folder dev ("/dev"). If two disks
// have a partition of the same name, the first disk's is taken, by all parts of
// the system.
func Scan(sys, dev string) (Nodes, error) {
	names, err := os.ReadDir(sys) // sorted
	if err != nil {
		return nil, err
	}
	found := Nodes{}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(sys, n.Name(), "uevent"))
		if err != nil {
			continue // it is gone again
		}
		var node, name string
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), "=")
			switch key {
			case "DEVNAME":
				node = value
			case "PARTNAME":
				name = value
			}
		}
		if name != "" && node != "" && found[name] == "" {
			found[name] = filepath.Join(dev, node)
		}
	}
	return found, nil
}

// Missing returns those of the names that are not there.
func (p Nodes) Missing(names []string) (missing []string) {
	for _, n := range names {
		if p[n] == "" && !slices.Contains(missing, n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// String lists the names, sorted.
func (p Nodes) String() string {
	if len(p) == 0 {
		return "no partitions"
	}
	names := make([]string, 0, len(p))
	for n := range p {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
