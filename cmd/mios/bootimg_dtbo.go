package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"mios/format/dtbo"
	"mios/internal/atomicfile"
	"mios/internal/units"
)

var dtboInfo = command{"boot dtbo info", "[flags] FILE", "tell what a table of device trees (dtbo.img) holds",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		format := fs.String("format", "page", "`how` to tell it: page, or info as mkdtboimg dump")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		if *format != "page" && *format != "info" {
			return fmt.Errorf("%w: --format %s: want page or info", errUsage, *format)
		}
		t, err := readTable(fs.Arg(0))
		if err != nil {
			return err
		}
		return printTable(e, fs.Arg(0), t, *format, *asJSON)
	}}

var dtboUnpack = command{"boot dtbo unpack", "[flags] FILE", "write the blobs of a table of device trees to files, as mkdtboimg dump -b does",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		name := fs.String("dtb", "dtb", "`name` of the files to write: NAME.0, NAME.1 …")
		fs.StringVar(name, "b", "dtb", "the same `name`")
		decompress := fs.Bool("decompress", false, "unpack what is packed")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		t, err := readTable(fs.Arg(0))
		if err != nil {
			return err
		}
		blobs := make([][]byte, len(t.Entries))
		for i := range t.Entries {
			if blobs[i] = t.Entries[i].Data; *decompress {
				if blobs[i], err = t.Entries[i].Unpack(); err != nil {
					return fmt.Errorf("%s: entry %d: %w", fs.Arg(0), i, err)
				}
			}
		}
		for i, b := range blobs {
			if err := atomicfile.WriteBytes(fmt.Sprintf("%s.%d", *name, i), b, 0o644); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(e.stdout, "%d blobs: %s.0 …\n", len(blobs), *name)
		return err
	}}

func readTable(name string) (*dtbo.Table, error) {
	b, err := readPart(name)
	if err != nil {
		return nil, err
	}
	t, err := dtbo.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// dtboEntry is an entry as JSON has it.
type dtboEntry struct {
	Size   int       `json:"size"`
	ID     uint32    `json:"id"`
	Rev    uint32    `json:"rev"`
	Flags  uint32    `json:"flags,omitempty"`
	Custom [4]uint32 `json:"custom"`
	Shares *int      `json:"shares_entry,omitempty"`
}

func printTable(e env, name string, t *dtbo.Table, format string, asJSON bool) error {
	kind := "device trees"
	if t.ACPI {
		kind = "ACPI tables"
	}
	var list []dtboEntry
	for _, x := range t.Entries {
		entry := dtboEntry{Size: len(x.Data), ID: x.ID, Rev: x.Rev, Flags: x.Flags, Custom: x.Custom}
		if x.Shared > 0 {
			entry.Shares = new(x.Shared - 1)
		}
		list = append(list, entry)
	}
	switch {
	case asJSON:
		return printJSON(e, struct {
			File     string      `json:"file"`
			Kind     string      `json:"kind"`
			Version  uint32      `json:"version"`
			PageSize uint32      `json:"page_size"`
			Entries  []dtboEntry `json:"entries"`
		}{name, kind, t.Version, t.PageSize, append([]dtboEntry{}, list...)})
	case format == "info":
		text, err := t.Text()
		if err == nil {
			_, err = io.WriteString(e.stdout, text)
		}
		return err
	}
	p := newPage(e.stdout)
	p.line("%s: table of %d %s, version %d", name, len(list), kind, t.Version)
	for i, x := range list {
		line := fmt.Sprintf("  %d: %s, id %#x, rev %#x, flags %#x, custom %#x", i, units.Binary(int64(x.Size)), x.ID, x.Rev, x.Flags, x.Custom)
		if x.Shares != nil {
			line += fmt.Sprintf("; the blob of %d", *x.Shares)
		}
		p.line("%s", line)
	}
	return nil
}

var dtboMake = command{"boot dtbo make", "[flags] OUT (BLOB [flags])... | --config FILE OUT", "make a table of device trees, as mkdtboimg create and cfg_create do\n" +
	"Flags before the first BLOB are for all; those behind one are its own.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		all := &dtboValues{values: map[string]string{}}
		all.add(fs)
		version := fs.Uint("version", 0, "`version` of the table, 0 or 1")
		pageSize := fs.Uint("page_size", 2048, "page size in `bytes`")
		kind := fs.String("dt_type", "dtb", "`type` of the blobs: dtb or acpi")
		config := fs.String("config", "", "configuration `file` that names the blobs, as of mkdtboimg cfg_create")
		dir := fs.String("dtb-dir", ".", "`folder` of the blobs that the configuration names")
		if err := parseFlags(fs, args); err != nil {
			return err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return errUsage
		}
		out := rest[0]
		if err := parseFlags(fs, rest[1:]); err != nil { // also behind the output file, as mkdtboimg has it
			return err
		}
		blobs, err := dtboBlobs(fs.Args(), all)
		if err != nil {
			return err
		}
		t := &dtbo.Table{ACPI: *kind == "acpi", Version: uint32(*version), PageSize: uint32(*pageSize)}
		if *config != "" {
			if len(blobs) > 0 {
				return fmt.Errorf("%w: --config and blobs: want one of them", errUsage)
			}
			if blobs, err = readDTBOConfig(*config, *dir, t); err != nil {
				return err
			}
		}
		if len(blobs) == 0 {
			return fmt.Errorf("%w: name the blobs", errUsage)
		}
		if err := fillTable(t, blobs); err != nil {
			return err
		}
		return writeBootImage(out, t)
	}}

// dtboValues are an entry's file and numbers by name, as they were given.
type dtboValues struct {
	file   string
	values map[string]string
}

var dtboNames = []string{"id", "rev", "flags", "custom0", "custom1", "custom2", "custom3"}

func (v *dtboValues) add(fs *flag.FlagSet) {
	for _, name := range dtboNames {
		fs.Func(name, "`number` that a loader chooses a blob by", func(s string) error {
			v.values[name] = s
			return nil
		})
	}
}

// number returns a value: decimal, 0x… or, with a leading zero, octal.
func (v *dtboValues) number(name string) (uint32, error) {
	s := v.values[name]
	if s == "" {
		return 0, nil
	}
	n, err := parseUint(s, 1<<32-1)
	if err != nil {
		return 0, fmt.Errorf("%s: %s %s: %w", v.file, name, s, err)
	}
	return uint32(n), nil
}

// with returns a blob's values, which begin as those for all.
func (v *dtboValues) with(file string) *dtboValues {
	c := &dtboValues{file, map[string]string{}}
	for name, s := range v.values {
		c.values[name] = s
	}
	return c
}

// dtboBlobs reads blobs, each with flags behind it.
func dtboBlobs(words []string, all *dtboValues) ([]*dtboValues, error) {
	var list []*dtboValues
	for len(words) > 0 {
		v := all.with(words[0])
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		v.add(fs)
		if err := parseFlags(fs, words[1:]); err != nil {
			return nil, err
		}
		list, words = append(list, v), fs.Args()
	}
	return list, nil
}

// readDTBOConfig reads a configuration: lines KEY=VALUE that begin with a space
// are for all before the first blob, and for a blob behind it; other lines name
// blobs.
func readDTBOConfig(name, dir string, t *dtbo.Table) ([]*dtboValues, error) {
	b, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	all := &dtboValues{values: map[string]string{}}
	var list []*dtboValues
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		line, _, _ := strings.Cut(sc.Text(), "#")
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		to := all
		if len(list) > 0 {
			to = list[len(list)-1]
		}
		switch {
		case line == "":
		case !pair:
			if !filepath.IsAbs(line) {
				line = filepath.Join(dir, line)
			}
			list = append(list, all.with(line))
		case len(list) == 0 && setTable(t, key, value):
		case strings.Contains(" "+strings.Join(dtboNames[:6], " ")+" ", " "+key+" "):
			to.values[key] = value
		default:
			return nil, fmt.Errorf("%s:%d: %q: want id, rev, flags, custom0 to custom2 or a file", name, n, line)
		}
	}
	return list, sc.Err()
}

// setTable sets what is the table's own, and reports whether key is.
func setTable(t *dtbo.Table, key, value string) bool {
	n, err := parseUint(value, 1<<32-1)
	switch {
	case key == "dt_type":
		t.ACPI = value == "acpi"
	case key == "page_size" && err == nil:
		t.PageSize = uint32(n)
	case key == "version" && err == nil:
		t.Version = uint32(n)
	default:
		return false
	}
	return true
}

// fillTable reads the blobs into the table. One that is there twice, packed
// alike, is stored once.
func fillTable(t *dtbo.Table, blobs []*dtboValues) error {
	if t.Version > 1 {
		return fmt.Errorf("version %d: want 0 or 1", t.Version)
	}
	seen := map[string]int{}
	for i, v := range blobs {
		var n [7]uint32
		var err error
		for j, name := range dtboNames {
			var one error
			n[j], one = v.number(name)
			err = errors.Join(err, one)
		}
		x := dtbo.Entry{ID: n[0], Rev: n[1], Custom: [4]uint32{n[3], n[4], n[5], n[6]}}
		if t.Version == 1 {
			x.Flags, x.Custom[3] = n[2], 0
		}
		blob, readErr := readPart(v.file)
		if err = errors.Join(err, readErr); err != nil {
			return err
		}
		file, pathErr := filepath.EvalSymlinks(v.file)
		key := fmt.Sprintf("%s %d", file, x.Packing())
		if first, ok := seen[key]; ok && pathErr == nil {
			x.Shared, x.Data = first+1, t.Entries[first].Data
		} else if err := x.Pack(blob); err != nil {
			return fmt.Errorf("%s: %w", v.file, err)
		} else {
			seen[key] = i
		}
		t.Entries = append(t.Entries, x)
	}
	return nil
}
