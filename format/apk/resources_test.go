package apk_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/internal/conformance"
	"mios/internal/tool"
)

// run runs one of the tools that tests compare with.
func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	path, err := tool.Look(name)
	if err != nil {
		tb.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
	}
	return string(out)
}

var (
	dumpConfig = regexp.MustCompile(`^      config (.*):$`)
	dumpEntry  = regexp.MustCompile(`^        resource (0x[0-9a-f]{8}) (\S+): (?:<bag>|t=0x([0-9a-f]+) d=0x([0-9a-f]+) )`)
	dumpCount  = regexp.MustCompile(`Parent=0x([0-9a-f]+)\(.*Count=(\d+)`)
	dumpKey    = regexp.MustCompile(`^          #\d+ \(Key=0x([0-9a-f]+)\): (.*)$`)
	dumpString = regexp.MustCompile(`^          \(string(?:8|16)\) "(.*)"$`)
)

// aaptResources is what `aapt dump --values resources` printed, as our table
// would say it.
func aaptResources(text string) (list []string) {
	text = strings.ReplaceAll(text, "\xed\xa0\xbd\xed\xb8\x80", "😀") // aapt prints the table's bytes
	config := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\r", "")) {
		line = strings.TrimSuffix(line, "\n")
		if m := dumpConfig.FindStringSubmatch(line); m != nil {
			config = strings.TrimPrefix(m[1], "(default)")
		} else if m := dumpEntry.FindStringSubmatch(line); m != nil {
			switch {
			case m[3] == "":
				list = append(list, fmt.Sprintf("%s %s %s bag", m[1], m[2], config))
			case m[3] == "03":
				list = append(list, fmt.Sprintf("%s %s %s text", m[1], m[2], config))
			default:
				list = append(list, fmt.Sprintf("%s %s %s %s %s", m[1], m[2], config, m[3], m[4]))
			}
		} else if m := dumpCount.FindStringSubmatch(line); m != nil {
			list = append(list, fmt.Sprintf("parent %s, %s", m[1], m[2]))
		} else if m := dumpKey.FindStringSubmatch(line); m != nil {
			list = append(list, fmt.Sprintf("%s: %s", m[1], m[2]))
		} else if m := dumpString.FindStringSubmatch(line); m != nil {
			list = append(list, m[1])
		}
	}
	return list
}

// ourResources says the same of our table, of the resources and in the order of
// aapt's list.
func ourResources(r *apk.Resources, order []string) (list []string, err error) {
	seen := map[string]int{} // how many of a resource's configurations were listed
	for _, line := range order {
		var id apk.ResID
		if n, _ := fmt.Sscanf(line, "0x%08x ", &id); n == 0 || !strings.HasPrefix(line, "0x") {
			continue
		}
		config := strings.Split(line, " ")[2]
		found := false
		for res, err := range r.All(id) {
			if err != nil {
				return nil, err
			}
			if res.Config.String() == config {
				list, found = append(list, resourceLines(r, res)...), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no %s", line)
		}
		seen[id.String()]++
	}
	return list, nil
}

func resourceLines(r *apk.Resources, res apk.Resource) []string {
	head := fmt.Sprintf("%v %s %s", res.ID, r.Name(res.ID), res.Config.String())
	switch {
	case res.Bag:
		list := []string{head + " bag", fmt.Sprintf("parent %08x, %d", uint32(res.Parent), len(res.Items))}
		for _, item := range res.Items {
			list = append(list, fmt.Sprintf("%08x: %s", uint32(item.Name), aaptValue(item.Value)))
		}
		return list
	case res.Value.Type == apk.TypeString:
		return []string{head + " text", esc(res.Value.Str)}
	}
	return []string{fmt.Sprintf("%s %02x %08x", head, res.Value.Type, res.Value.Data)}
}

// aaptValue writes a value of a bag as AOSP's ResTable::print_value does.
func aaptValue(v apk.Value) string {
	switch v.Type {
	case apk.TypeNull:
		return "(null)" + map[bool]string{true: " empty"}[v.Data == 1]
	case apk.TypeReference:
		return fmt.Sprintf("(reference) 0x%08x", v.Data)
	case apk.TypeDynamicReference:
		return fmt.Sprintf("(dynamic reference) 0x%08x", v.Data)
	case apk.TypeAttribute:
		return fmt.Sprintf("(attribute) 0x%08x", v.Data)
	case apk.TypeString:
		return fmt.Sprintf(`(string) "%s"`, esc(v.Str))
	case apk.TypeFloat:
		return fmt.Sprintf("(float) %g", v.Float())
	case apk.TypeDimension, apk.TypeFraction:
		n, unit := v.Dimension()
		if n < 0 { // aapt does not know negative ones
			n *= float64(v.Data>>8) / float64(int32(v.Data)>>8)
		}
		if v.Type == apk.TypeFraction {
			return fmt.Sprintf("(fraction) %f%s", n*100, unit)
		}
		return fmt.Sprintf("(dimension) %f%s", n, unit)
	}
	return fmt.Sprintf("(color) #%08x", v.Data) // aapt holds all numbers for colors
}

// compareResources compares every value of the package's table with what the
// installed aapt says of it, and returns how many.
func compareResources(t *testing.T, path string) (n int, same bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Resources()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	want := aaptResources(run(t, "aapt", "dump", "--values", "resources", path))
	got, err := ourResources(r, want)
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(path), err)
		return 0, false
	}
	for i, w := range want {
		w = strings.ReplaceAll(strings.ReplaceAll(w, "(string8) ", "(string) "), "(string16) ", "(string) ")
		if i >= len(got) || got[i] != w {
			t.Errorf("%s: line %d is %q, aapt's is %q", filepath.Base(path), i, append(got, make([]string, len(want))...)[i], w)
			return len(want), false
		}
	}
	configs := aaptLines(run(t, "aapt", "dump", "configurations", path))
	var ours []string
	for _, c := range r.Configs() {
		ours = append(ours, c.String())
	}
	bad := diff(ours, configs)
	for _, d := range bad {
		t.Errorf("%s: configurations: %s", filepath.Base(path), d)
	}
	return len(want), len(bad) == 0 && len(got) == len(want)
}

// TestResourcesOfApps compares the tables of the conformance set's packages with
// what the installed aapt reads in them.
func TestResourcesOfApps(t *testing.T) {
	tally := conformance.New(t, "apk resource tables (aapt dump --values resources)")
	n := 0
	for _, path := range badgingFiles(t) {
		lines, ok := compareResources(t, path)
		n += lines
		tally.Case(ok)
	}
	t.Logf("%d values and texts", n)
	if n < 18000 {
		t.Errorf("%d lines, want 18000: the set has shrunk", n)
	}
}
