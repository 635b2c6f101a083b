package targetfiles

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// ParseList reads a file of one word a line: META/ab_partitions.txt,
// META/otakeys.txt.
func ParseList(b []byte) ([]string, error) {
	lines, err := splitLines(b)
	if err != nil {
		return nil, err
	}
	var out []string
	var off int64
	for i, l := range lines {
		if t := strings.TrimSpace(l); t != "" {
			if strings.ContainsAny(t, " \t") {
				return nil, &FormatError{Off: off, Msg: fmt.Sprintf("line %d: %q is more than a word", i+1, t)}
			}
			out = append(out, t)
		}
		off += int64(len(l)) + 1
	}
	return out, nil
}

// FormatList writes a file that ParseList reads.
func FormatList(words []string) []byte {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w + "\n")
	}
	return []byte(b.String())
}

// Versions are what META/update_engine_config.txt says of the update_engine in
// the build.
type Versions struct {
	Major, Minor int
}

// ParseUpdateEngineConfig reads META/update_engine_config.txt.
func ParseUpdateEngineConfig(b []byte) (Versions, error) {
	d, err := ParseDict(b)
	if err != nil {
		return Versions{}, err
	}
	get := func(key string) int {
		n, e := strconv.Atoi(d.Get(key))
		if (e != nil || n < 0) && err == nil {
			err = &FormatError{File: UpdateEngineConfig, Msg: fmt.Sprintf("%s=%q, want a number", key, d.Get(key))}
		}
		return n
	}
	v := Versions{get("PAYLOAD_MAJOR_VERSION"), get("PAYLOAD_MINOR_VERSION")}
	return v, err
}

// Group is a group of dynamic partitions: together they are at most so large.
type Group struct {
	Name       string
	Size       int64 // bytes; 0: no limit is said
	Partitions []string
}

// Dynamic is what misc_info.txt or dynamic_partitions_info.txt says of super.
type Dynamic struct {
	Enabled    bool // use_dynamic_partitions
	Retrofit   bool // dynamic_partition_retrofit: super lies on several old partitions
	VirtualAB  bool // virtual_ab
	Compress   bool // virtual_ab_compression
	Partitions []string
	Groups     []Group
	Devices    []Device // that super lies on
	Metadata   string   // device with the metadata: "super"
	SuperSize  int64    // super_partition_size
}

// Device is a block device that super lies on.
type Device struct {
	Name string
	Size int64 // bytes
}

// ParseDynamic reads what such a file says of super (build_super_image.py).
func ParseDynamic(d *Dict) (*Dynamic, error) {
	out := &Dynamic{
		Enabled: d.Bool("use_dynamic_partitions"), Retrofit: d.Bool("dynamic_partition_retrofit"),
		VirtualAB: d.Bool("virtual_ab"), Compress: d.Bool("virtual_ab_compression"),
		Partitions: d.Fields("dynamic_partition_list"), Metadata: d.Get("super_metadata_device"),
	}
	var err error
	size := func(key string) int64 {
		n, e := d.Int(key, 0)
		if e == nil && n < 0 {
			e = fmt.Errorf("targetfiles: %s=%d: below zero", key, n)
		}
		if err == nil {
			err = e
		}
		return n
	}
	out.SuperSize = size("super_partition_size")
	for _, name := range d.Fields("super_block_devices") {
		out.Devices = append(out.Devices, Device{name, size("super_" + name + "_device_size")})
	}
	for _, name := range d.Fields("super_partition_groups") {
		out.Groups = append(out.Groups, Group{name, size("super_" + name + "_group_size"), d.Fields("super_" + name + "_partition_list")})
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// An FSEntry is a line of a filesystem_config.txt: owner and mode of a file of a
// partition (build/make/tools/fs_config).
type FSEntry struct {
	Path         string // on the device without the leading slash: "system/bin/sh"; "" for the root
	UID, GID     uint32
	Mode         uint32 // permission bits
	Label        string // SELinux, or ""
	Capabilities uint64
}

// ParseFSConfig reads a META/filesystem_config.txt or that of another partition.
func ParseFSConfig(b []byte) ([]FSEntry, error) {
	lines, err := splitLines(b)
	if err != nil {
		return nil, err
	}
	var out []FSEntry
	var off int64
	for i, l := range lines {
		if strings.TrimSpace(l) != "" {
			e, msg := parseFSEntry(l)
			if msg != "" {
				return nil, &FormatError{Off: off, Msg: fmt.Sprintf("line %d: %s", i+1, msg)}
			}
			out = append(out, e)
		}
		off += int64(len(l)) + 1
	}
	return out, nil
}

func parseFSEntry(l string) (e FSEntry, msg string) {
	path, rest, _ := strings.Cut(l, " ") // that of the root is empty
	f := strings.Fields(rest)
	if len(f) < 3 {
		return e, fmt.Sprintf("%q is not PATH UID GID MODE", l)
	}
	e.Path = path
	for i, to := range []*uint32{&e.UID, &e.GID, &e.Mode} {
		base := 10
		if i == 2 {
			base = 8
		}
		n, err := strconv.ParseUint(f[i], base, 32)
		if err != nil {
			return e, fmt.Sprintf("%q is not a number", f[i])
		}
		*to = uint32(n)
	}
	if e.Mode > 0o7777 {
		return e, fmt.Sprintf("mode %o", e.Mode)
	}
	for _, a := range f[3:] {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "selabel":
			e.Label = value
		case "capabilities":
			n, err := strconv.ParseUint(value, 0, 64)
			if err != nil {
				return e, fmt.Sprintf("capabilities=%q is not a number", value)
			}
			e.Capabilities = n
		default:
			return e, fmt.Sprintf("%q is neither selabel nor capabilities", a)
		}
	}
	return e, ""
}

// FormatFSConfig writes a file that ParseFSConfig reads.
func FormatFSConfig(list []FSEntry) []byte {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%s %d %d %o", e.Path, e.UID, e.GID, e.Mode)
		if e.Label != "" {
			b.WriteString(" selabel=" + e.Label)
		}
		fmt.Fprintf(&b, " capabilities=%#x\n", e.Capabilities)
	}
	return []byte(b.String())
}

// IsBuildProp says whether a file of a target-files holds build properties with
// the build's tags (sign_target_files_apks.py, IsBuildPropFile).
func IsBuildProp(name string) bool {
	return strings.HasSuffix(name, "build.prop") || strings.HasSuffix(name, "/default.prop") || strings.HasSuffix(name, "/prop.default")
}

// IsOTACerts says whether a file holds the certificates that updates are checked
// with.
func IsOTACerts(name string) bool { return path.Base(name) == "otacerts.zip" }

// IsMacPermissions says whether a file gives apps their SELinux domain by
// certificate.
func IsMacPermissions(name string) bool { return strings.HasSuffix(name, "mac_permissions.xml") }

// IsApex says whether a file is an APEX by its name.
func IsApex(name string) bool {
	return strings.HasSuffix(name, ".apex") || strings.HasSuffix(name, ".capex")
}

// IsApp says whether a file is an app by its name: .apk, or .apk with the
// suffix with which META/apkcerts.txt has compressed ones, such as "gz".
func IsApp(name, compressed string) bool {
	return strings.HasSuffix(name, ".apk") || compressed != "" && strings.HasSuffix(name, ".apk."+compressed)
}
