package apex

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"mios/internal/protowire"
)

// A Manifest is apex_manifest.pb (system/apex/proto/apex_manifest.proto).
type Manifest struct {
	Name                     string // "com.android.tzdata"
	Version                  int64
	PreInstallHook           string
	PostInstallHook          string
	VersionName              string
	NoCode                   bool
	ProvideNativeLibs        []string
	RequireNativeLibs        []string
	JNILibs                  []string
	RequireSharedAPEXLibs    []string
	ProvideSharedAPEXLibs    bool
	OriginalDigest           string // of a .capex: root digest of the payload inside, hexadecimal
	SupportsRebootlessUpdate bool
	VNDKVersion              string
	VendorBootstrap          bool
	Bootstrap                bool
}

// The numbers of apex_manifest.proto.
const (
	fieldCapex          = 12 // CompressedApexMetadata
	fieldOriginalDigest = 1
)

// A fields reads the fields of one message.
type fields struct {
	entry string
	off   int64 // of the field at hand
	err   error
}

func (r *fields) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &FormatError{Entry: r.entry, Off: r.off, Msg: fmt.Sprintf(format, args...)}
	}
}

// each calls fn for each field of b.
func (r *fields) each(b []byte, fn func(f protowire.Field)) error {
	for len(b) > 0 && r.err == nil {
		f, err := protowire.Next(b)
		if err != nil {
			r.fail("%v", err)
			break
		}
		fn(f)
		r.off += int64(len(f.Raw))
		b = b[len(f.Raw):]
	}
	return r.err
}

func (r *fields) text(f protowire.Field) string {
	if f.Type != protowire.Bytes || !utf8.Valid(f.B) {
		r.fail("field %d is not a text", f.Num)
	}
	return string(f.B)
}

func (r *fields) bytes(f protowire.Field) []byte {
	if f.Type != protowire.Bytes {
		r.fail("field %d is not bytes", f.Num)
	}
	return slices.Clone(f.B)
}

func (r *fields) uint(f protowire.Field) uint64 {
	if f.Type != protowire.Varint {
		r.fail("field %d is not a number", f.Num)
	}
	return f.U
}

func (r *fields) flag(f protowire.Field) bool { return r.uint(f) != 0 }

// ParseManifest reads an apex_manifest.pb. Fields that it does not know are
// skipped, as apexd does.
func ParseManifest(b []byte) (*Manifest, error) {
	m := &Manifest{}
	r := &fields{entry: ManifestName}
	err := r.each(b, func(f protowire.Field) {
		switch f.Num {
		case 1:
			m.Name = r.text(f)
		case 2:
			m.Version = int64(r.uint(f))
		case 3:
			m.PreInstallHook = r.text(f)
		case 4:
			m.PostInstallHook = r.text(f)
		case 5:
			m.VersionName = r.text(f)
		case 6:
			m.NoCode = r.flag(f)
		case 7:
			m.ProvideNativeLibs = append(m.ProvideNativeLibs, r.text(f))
		case 8:
			m.RequireNativeLibs = append(m.RequireNativeLibs, r.text(f))
		case 9:
			m.JNILibs = append(m.JNILibs, r.text(f))
		case 10:
			m.RequireSharedAPEXLibs = append(m.RequireSharedAPEXLibs, r.text(f))
		case 11:
			m.ProvideSharedAPEXLibs = r.flag(f)
		case fieldCapex:
			m.OriginalDigest = r.capex(f)
		case 13:
			m.SupportsRebootlessUpdate = r.flag(f)
		case 14:
			m.VNDKVersion = r.text(f)
		case 15:
			m.VendorBootstrap = r.flag(f)
		case 16:
			m.Bootstrap = r.flag(f)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case m.Name == "":
		return nil, &FormatError{Entry: ManifestName, Msg: "no name"}
	case m.Version == 0:
		return nil, &FormatError{Entry: ManifestName, Msg: "no version"}
	}
	return m, nil
}

// capex reads a CompressedApexMetadata.
func (r *fields) capex(f protowire.Field) (digest string) {
	in := &fields{entry: r.entry, off: r.off + int64(f.Value)}
	err := in.each(r.bytes(f), func(f protowire.Field) {
		if f.Num == fieldOriginalDigest {
			digest = in.text(f)
		}
	})
	if r.err == nil {
		r.err = err
	}
	return digest
}

// withDigest returns a manifest for a .capex: manifest b, with the root digest
// of the payload inside, and fields in the order of their numbers.
func withDigest(b []byte, digest string) ([]byte, error) {
	msg := protowire.AppendBytes(nil, fieldOriginalDigest, digest)
	field := protowire.AppendBytes(nil, fieldCapex, msg)
	var out []byte
	r := &fields{entry: ManifestName}
	placed := false
	err := r.each(b, func(f protowire.Field) {
		if f.Num > fieldCapex && !placed {
			out, placed = append(out, field...), true
		}
		if f.Num != fieldCapex {
			out = append(out, f.Raw...)
		}
	})
	if !placed {
		out = append(out, field...)
	}
	return out, err
}

// BuildInfo is apex_build_info.pb (system/apex/proto/apex_build_info.proto):
// what apexer was called with.
type BuildInfo struct {
	Command             string // apexer's command line
	FileContexts        []byte // SELinux labels of the payload's files
	CannedFSConfig      []byte // owners and modes of the payload's files
	AndroidManifest     []byte // as text, before it was compiled
	MinSDKVersion       string
	TargetSDKVersion    string
	NoHashtree          bool
	OverridePackageName string
	LoggingParent       string
	PayloadFSType       string // "ext4", "erofs", "f2fs"
}

// ParseBuildInfo reads an apex_build_info.pb.
func ParseBuildInfo(b []byte) (*BuildInfo, error) {
	i := &BuildInfo{}
	r := &fields{entry: BuildInfoName}
	err := r.each(b, func(f protowire.Field) {
		switch f.Num {
		case 1:
			i.Command = r.text(f)
		case 2:
			i.FileContexts = r.bytes(f)
		case 3:
			i.CannedFSConfig = r.bytes(f)
		case 4:
			i.AndroidManifest = r.bytes(f)
		case 5:
			i.MinSDKVersion = r.text(f)
		case 6:
			i.TargetSDKVersion = r.text(f)
		case 7:
			i.NoHashtree = r.flag(f)
		case 8:
			i.OverridePackageName = r.text(f)
		case 9:
			i.LoggingParent = r.text(f)
		case 10:
			i.PayloadFSType = r.text(f)
		}
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}
