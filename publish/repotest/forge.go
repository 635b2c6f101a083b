package repotest

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	api "mios/api/repo"
	"mios/key"
	"mios/storage/tree"
)

// A Forger is whoever holds a mirror, some with stolen keys: it changes a
// repository's files as no vendor would.
type Forger struct {
	TB    testing.TB
	Keys  *key.Set // those that it has stolen
	Files map[string][]byte
}

// Load returns the files of a tree whose names begin with one of the prefixes,
// or all.
func Load(tb testing.TB, t tree.Tree, prefixes ...string) map[string][]byte {
	tb.Helper()
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	names, err := t.List(tb.Context(), ".")
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		for _, p := range prefixes {
			if !strings.HasPrefix(name, p) {
				continue
			}
			if files[name], err = tree.ReadAll(tb.Context(), t, name, api.MaxMetadata); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return files
}

// Read parses the metadata in the file metadata/NAME.
func Read[T metadata.Roles](f *Forger, name string) *metadata.Metadata[T] {
	f.TB.Helper()
	m, err := new(metadata.Metadata[T]).FromBytes(f.Files["metadata/"+name])
	if err != nil {
		f.TB.Fatalf("%s: %v", name, err)
	}
	return m
}

// Write signs metadata with all keys of some key roles, puts it into the file
// metadata/NAME and returns its bytes.
func Write[T metadata.Roles](f *Forger, name string, m *metadata.Metadata[T], keyRoles ...string) []byte {
	f.TB.Helper()
	m.ClearSignatures()
	for _, role := range keyRoles {
		signers, err := f.Keys.Signers(role)
		if err != nil {
			f.TB.Fatal(err)
		}
		for _, s := range signers {
			if _, err := m.Sign(signer{s}); err != nil {
				f.TB.Fatal(err)
			}
		}
	}
	b, err := m.ToBytes(false)
	if err != nil {
		f.TB.Fatal(err)
	}
	f.Files["metadata/"+name] = b
	return b
}

// Current returns the timestamp, and the snapshot that it names.
func (f *Forger) Current() (*metadata.Metadata[metadata.TimestampType], *metadata.Metadata[metadata.SnapshotType]) {
	f.TB.Helper()
	ts := Read[metadata.TimestampType](f, "timestamp.json")
	return ts, Read[metadata.SnapshotType](f, fmt.Sprintf("%d.snapshot.json", ts.Signed.Meta["snapshot.json"].Version))
}

// Name returns the name of the file with a role's newest metadata.
func (f *Forger) Name(role string) string {
	f.TB.Helper()
	ts, snap := f.Current()
	switch role {
	case metadata.TIMESTAMP:
		return api.MetadataPath(role, 0)
	case metadata.SNAPSHOT:
		return api.MetadataPath(role, ts.Signed.Meta["snapshot.json"].Version)
	}
	return api.MetadataPath(role, snap.Signed.Meta[role+".json"].Version)
}

// Role returns the newest metadata of a targets role.
func (f *Forger) Role(role string) *metadata.Metadata[metadata.TargetsType] {
	f.TB.Helper()
	return Read[metadata.TargetsType](f, strings.TrimPrefix(f.Name(role), "metadata/"))
}

// Forge publishes the next version of a role's metadata, signed by all keys of
// some key roles, with snapshot and timestamp above it.
func (f *Forger) Forge(role string, m *metadata.Metadata[metadata.TargetsType], keyRoles ...string) {
	f.TB.Helper()
	m.Signed.Version++
	b := Write(f, fmt.Sprintf("%d.%s.json", m.Signed.Version, role), m, keyRoles...)
	_, snap := f.Current()
	if old := snap.Signed.Meta[role+".json"]; old != nil && len(old.Hashes) == 0 {
		snap.Signed.Meta[role+".json"] = metadata.MetaFile(m.Signed.Version) // a bin's
	} else {
		snap.Signed.Meta[role+".json"] = Meta(m.Signed.Version, b)
	}
	f.ForgeSnapshot(snap)
}

// ForgeSnapshot publishes a snapshot as the next version, with a timestamp
// above it.
func (f *Forger) ForgeSnapshot(snap *metadata.Metadata[metadata.SnapshotType]) {
	f.TB.Helper()
	ts, _ := f.Current()
	snap.Signed.Version++
	b := Write(f, fmt.Sprintf("%d.snapshot.json", snap.Signed.Version), snap, key.Snapshot)
	ts.Signed.Meta["snapshot.json"] = Meta(snap.Signed.Version, b)
	f.ForgeTimestamp(ts)
}

// ForgeTimestamp publishes a timestamp as the next version.
func (f *Forger) ForgeTimestamp(ts *metadata.Metadata[metadata.TimestampType]) {
	f.TB.Helper()
	ts.Signed.Version++
	Write(f, "timestamp.json", ts, key.Timestamp)
}

// Put makes content, as JSON, a target of a role that is still to be signed.
func (f *Forger) Put(m *metadata.Metadata[metadata.TargetsType], name string, content any) {
	f.TB.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		f.TB.Fatal(err)
	}
	t := api.Target{Path: name, Length: int64(len(b)), SHA256: mios.Sum(b)}
	f.Files[t.File()] = b
	target := metadata.TargetFile()
	target.Length, target.Hashes["sha256"] = t.Length, t.SHA256[:]
	m.Signed.Targets[name] = target
}

// Flip changes one byte in the middle of a file.
func (f *Forger) Flip(name string) {
	b := append([]byte(nil), f.Files[name]...)
	b[len(b)/2] ^= 1
	f.Files[name] = b
}

// Meta is what metadata says of another metadata file.
func Meta(version int64, b []byte) *metadata.MetaFiles {
	f := metadata.MetaFile(version)
	sum := sha256.Sum256(b)
	f.Length, f.Hashes["sha256"] = int64(len(b)), sum[:]
	return f
}

// signer lets go-tuf sign with a key that an attacker has.
type signer struct{ crypto.Signer }

func (s signer) SignMessage(r io.Reader, _ ...signature.SignOption) ([]byte, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return s.Sign(nil, sum[:], crypto.SHA256)
}

func (s signer) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return s.Public(), nil
}
