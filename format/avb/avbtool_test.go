package avb_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mios/format/avb"
	"mios/internal/conformance"
)

// memFile is an [avb.File].
type memFile struct{ b []byte }

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(b, off)
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	if end := off + int64(len(b)); end > int64(len(f.b)) {
		if err := f.Truncate(end); err != nil {
			return 0, err
		}
	}
	return copy(f.b[off:], b), nil
}

func (f *memFile) Truncate(size int64) error {
	b := make([]byte, size)
	copy(b, f.b)
	f.b = b
	return nil
}

type avbtoolCall struct {
	Argv          []string
	RC            int
	Before, After map[string][2]any
}

// footerCall is what an add_hash_footer or add_hashtree_footer call asks for.
type footerCall struct {
	image, key string
	hashtree   bool
	o          avb.FooterOptions
}

// parseFooterCall returns false for a call with options that are avbtool's own.
func parseFooterCall(t *testing.T, argv []string) (c footerCall, ok bool) {
	c.hashtree = argv[0] == "add_hashtree_footer"
	if !c.hashtree && argv[0] != "add_hash_footer" {
		return c, false
	}
	c.o.VBMeta = &avb.VBMeta{Release: "avbtool 1.3.0"}
	if c.hashtree {
		c.o.HashAlgorithm, c.o.FECRoots = "sha1", 2
	}
	for args := argv[1:]; len(args) > 0; args = args[1:] {
		switch args[0] {
		case "--do_not_generate_fec":
			c.o.FECRoots = 0
			continue
		case "--do_not_use_ab":
			c.o.Flags |= avb.FlagDoNotUseAB
			continue
		case "--check_at_most_once":
			c.o.Flags |= avb.FlagCheckAtMostOnce
			continue
		case "--use_persistent_digest":
			c.o.PersistentDigest = true
			continue
		}
		if len(args) < 2 || !c.option(t, args[0], args[1]) {
			return c, false
		}
		args = args[1:]
	}
	return c, c.o.Salt != nil || c.o.PersistentDigest
}

func (c *footerCall) option(t *testing.T, name, value string) bool {
	number := func() uint64 {
		n, err := strconv.ParseUint(value, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch name {
	case "--image":
		c.image = value
	case "--partition_name":
		c.o.PartitionName = value
	case "--partition_size":
		c.o.PartitionSize = int64(number())
	case "--salt":
		c.o.Salt = unhex(t, value)
	case "--hash_algorithm":
		c.o.HashAlgorithm = value
	case "--key":
		c.key = value
	case "--algorithm":
		a, err := avb.ParseAlgorithm(value)
		if err != nil {
			t.Fatal(err)
		}
		c.o.VBMeta.Algorithm = a
	case "--rollback_index":
		c.o.VBMeta.RollbackIndex = number()
	case "--rollback_index_location":
		c.o.VBMeta.RollbackIndexLocation = uint32(number())
	case "--kernel_cmdline":
		c.o.VBMeta.Descriptors = append(c.o.VBMeta.Descriptors, &avb.KernelCmdlineDescriptor{Cmdline: value})
	case "--internal_release_string":
		c.o.VBMeta.Release = value
	default:
		return false
	}
	return true
}

// TestAVBToolConformance makes footers as recorded calls of avbtool did, and
// wants the same bytes.
func TestAVBToolConformance(t *testing.T) {
	dir := conformance.Dir(t, "avb")
	tally := conformance.New(t, "avb/avbtool footers")
	done := map[string]bool{}
	lines(t, filepath.Join(dir, "avbtool_calls.jsonl"), func(call avbtoolCall) {
		c, ok := parseFooterCall(t, call.Argv)
		if argv := strings.Join(call.Argv, " "); !ok || call.RC != 0 || call.Before[c.image][0] == nil || done[argv] {
			return
		} else {
			done[argv] = true
		}
		want, changed := call.After[c.image]
		if !changed || c.o.PartitionName == "" {
			return
		}
		f := &memFile{blob(t, dir, call.Before[c.image][0].(string))}
		size := int64(len(f.b))
		if _, footer, err := avb.Read(f, size); err == nil && footer != nil {
			size = int64(footer.OriginalImageSize) // avbtool replaces a footer
		}
		if c.key != "" {
			c.o.Key = privateKey(t, blob(t, dir, call.Before[c.key][0].(string)))
		}
		var err error
		if c.hashtree {
			_, err = avb.AddHashtreeFooter(f, size, c.o)
		} else {
			_, err = avb.AddHashFooter(f, size, c.o)
		}
		ok = err == nil && sha256Hex(f.b) == want[0]
		tally.Case(ok)
		if !ok {
			t.Errorf("%q: %v, %d bytes with SHA-256 %s, want %v", call.Argv, err, len(f.b), sha256Hex(f.b), want)
		}
	})
}

func privateKey(t testing.TB, text []byte) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM block in the key")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

var _ io.ReaderAt = (*memFile)(nil)
