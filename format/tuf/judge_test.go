package tuf_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios/format/tuf"
)

// The judge in this file is go-tuf: another implementation of the same files.

// keys makes a key of each kind.
func keys(tb testing.TB) map[string]crypto.Signer {
	tb.Helper()
	p256, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, err3 := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, err4 := ed25519.GenerateKey(rand.Reader)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return map[string]crypto.Signer{"P-256": p256, "P-384": p384, "RSA": rsaKey, "Ed25519": ed}
}

// fill puts something of every kind into go-tuf's metadata.
func fill(m any) {
	unknown := func() map[string]any {
		return map[string]any{"x-text": "<&>\u2028 \"\\ \n\x7f ü 🙂", "x-list": []any{1, -2, "3", nil, true, map[string]any{"b": 1, "a": []any{}}}}
	}
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	file := func() *metadata.MetaFiles {
		return &metadata.MetaFiles{Version: 7, Length: 9, Hashes: metadata.Hashes{"sha256": bytes.Repeat([]byte{0xab}, 32)}, UnrecognizedFields: unknown()}
	}
	switch m := m.(type) {
	case *metadata.Metadata[metadata.RootType]:
		m.Signed.Expires, m.Signed.UnrecognizedFields, m.UnrecognizedFields = expires, unknown(), unknown()
		m.Signed.Roles["snapshot"].UnrecognizedFields = unknown()
	case *metadata.Metadata[metadata.TimestampType]:
		m.Signed.Expires, m.Signed.UnrecognizedFields = expires.Add(5*time.Millisecond), unknown() // as go-tuf writes what time.Now says
		m.Signed.Meta["snapshot.json"] = file()
	case *metadata.Metadata[metadata.SnapshotType]:
		m.Signed.Expires, m.Signed.UnrecognizedFields = expires, unknown()
		m.Signed.Meta["bins-0.json"] = file()
	case *metadata.Metadata[metadata.TargetsType]:
		m.Signed.Expires, m.Signed.UnrecognizedFields = expires, unknown()
		custom := json.RawMessage(`{"z":"<&>","a":[1,2,{"c":"d","b":null}]}`)
		m.Signed.Targets["a/<b>/c"] = &metadata.TargetFiles{Length: 0, Hashes: file().Hashes, Custom: &custom, UnrecognizedFields: unknown()}
		m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, UnrecognizedFields: unknown(), Roles: []metadata.DelegatedRole{
			{Name: "b", KeyIDs: []string{}, Threshold: 2, Paths: []string{"x/*", "y"}, Terminating: true, UnrecognizedFields: unknown()},
			{Name: "a", KeyIDs: []string{}, Threshold: 1, PathHashPrefixes: []string{"0a", "f"}},
		}}
	}
}

// judge lets go-tuf sign with a key.
func judge(tb testing.TB, key crypto.Signer) signature.Signer {
	tb.Helper()
	var s signature.Signer
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		s, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256})
	case *ecdsa.PrivateKey:
		hash := crypto.SHA256
		if k.Curve == elliptic.P384() {
			hash = crypto.SHA384
		}
		s, err = signature.LoadSigner(key, hash)
	default:
		s, err = signature.LoadSigner(key, crypto.Hash(0))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestKeysLikeGoTUF(t *testing.T) {
	for name, signer := range keys(t) {
		ours, err := tuf.NewKey(signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := metadata.KeyFromPublicKey(signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		if name == "P-384" { // go-tuf calls every curve P-256
			theirs.Scheme = "ecdsa-sha2-nistp384"
		}
		id, err := ours.ID()
		want, err2 := theirs.ID()
		if id != want || err != nil || err2 != nil {
			t.Errorf("%s: ID = %s, %v; want %s, %v", name, id, err, want, err2)
		}
		a, _ := json.Marshal(ours)
		b, _ := json.Marshal(theirs)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: %s, want %s", name, a, b)
		}
		var back tuf.Key
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		pub, err := back.PublicKey()
		if eq, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || err != nil || !eq.Equal(pub) {
			t.Errorf("%s: PublicKey = %v, %v", name, pub, err)
		}
	}
}

// roleOf returns a root that lets a key sign every role, twice: by go-tuf and
// by this package.
func roleOf(tb testing.TB, key crypto.Signer) (*metadata.Metadata[metadata.RootType], *tuf.Root) {
	tb.Helper()
	k, err := tuf.NewKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	b, err := json.Marshal(k)
	if err != nil {
		tb.Fatal(err)
	}
	theirKey := new(metadata.Key)
	if err := json.Unmarshal(b, theirKey); err != nil {
		tb.Fatal(err)
	}
	theirs, ours := metadata.Root(), tuf.New[tuf.Root]()
	id, _ := k.ID()
	for _, role := range tuf.TopLevel {
		if err := theirs.Signed.AddKey(theirKey, role); err != nil {
			tb.Fatal(err)
		}
		ours.Signed.Roles[role].KeyIDs = []string{id}
	}
	ours.Signed.Keys[id] = k
	return theirs, &ours.Signed
}

// TestLikeGoTUF: what go-tuf writes and signs is read, verified and written
// byte for byte, and what is signed here go-tuf verifies.
func TestLikeGoTUF(t *testing.T) {
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			both[metadata.RootType, tuf.Root](t, "root", key, metadata.Root())
			both[metadata.TimestampType, tuf.Timestamp](t, "timestamp", key, metadata.Timestamp())
			both[metadata.SnapshotType, tuf.Snapshot](t, "snapshot", key, metadata.Snapshot())
			both[metadata.TargetsType, tuf.Targets](t, "targets", key, metadata.Targets())
		})
	}
}

func both[J metadata.Roles, T tuf.Role](t *testing.T, role string, key crypto.Signer, theirs *metadata.Metadata[J]) {
	t.Helper()
	fill(theirs)
	theirRoot, ourRoot := roleOf(t, key)
	sig, err := theirs.Sign(judge(t, key))
	if err != nil {
		t.Fatal(err)
	}
	// go-tuf names P-384 keys as if they were P-256.
	theirs.Signatures[0].KeyID = ourRoot.Roles[role].KeyIDs[0]
	file, err := theirs.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := tuf.Parse[T](file)
	if err != nil {
		t.Fatalf("%s: Parse of what go-tuf wrote: %v\n%s", role, err, file)
	}
	want, err := cjson.EncodeCanonical(theirs.Signed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ours.Canonical(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: Canonical = %q, %v; want %q", role, got, err, want)
	}
	if got, err := ours.Bytes(); err != nil || !bytes.Equal(got, file) {
		t.Errorf("%s: Bytes = %s, %v; want %s", role, got, err, file)
	}
	if err := tuf.Verify(ourRoot, role, ours); err != nil {
		t.Errorf("%s: Verify of go-tuf's signature = %v", role, err)
	}
	ours.Signatures[0].Sig = slices.Clone(sig.Signature)
	ours.Signatures[0].Sig[8] ^= 1
	if err := tuf.Verify(ourRoot, role, ours); err == nil {
		t.Errorf("%s: Verify takes a changed signature", role)
	}
	ours.Signatures = nil
	if err := tuf.Sign(ours, key); err != nil {
		t.Fatal(err)
	}
	b, err := ours.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := new(metadata.Metadata[J]).FromBytes(b)
	if err != nil {
		t.Fatalf("%s: go-tuf: %v", role, err)
	}
	if err := theirRoot.VerifyDelegate(role, back); err != nil {
		t.Errorf("%s: go-tuf does not verify what was signed here: %v", role, err)
	}
}

// TestBinsLikeGoTUF holds the names of bins, and which is a target's.
func TestBinsLikeGoTUF(t *testing.T) {
	for bits := 1; bits <= 32; bits++ {
		ours := &tuf.SuccinctRoles{BitLength: bits, NamePrefix: "b-0"}
		theirs := &metadata.SuccinctRoles{BitLength: bits, NamePrefix: "b-0"}
		if bits <= 10 {
			if got, want := slices.Collect(ours.Bins()), theirs.GetRoles(); !slices.Equal(got, want) {
				t.Errorf("%d bits: Bins = %v, want %v", bits, got, want)
			}
		}
		for i := range 50 {
			path := fmt.Sprint("apps/", i)
			got, want := ours.Bin(path), theirs.GetRolesForTarget(path)[0].Name
			if got != want || !ours.Has(got) {
				t.Errorf("%d bits: Bin(%s) = %s, which is one: %v; want %s", bits, path, got, ours.Has(got), want)
			}
		}
	}
	s := &tuf.SuccinctRoles{BitLength: 5, NamePrefix: "b"}
	for _, no := range []string{"", "b", "b-", "b-0", "b-000", "b-20", "b-1F", "b-+1", "c-00", "b-0x", "b--1"} {
		if s.Has(no) {
			t.Errorf("Has(%q) of 32 bins is true", no)
		}
	}
}

func TestMatchesLikeGoTUF(t *testing.T) {
	for _, pattern := range []string{"a", "*", "a/*", "a/*.json", "*/b", "a/?", "a/[a-c]x", "a/[", "a[^x]b", "", "a/", `a\*`, "*/*", "**"} {
		ours, theirs := &tuf.DelegatedRole{Paths: []string{pattern}}, &metadata.DelegatedRole{Paths: []string{pattern}}
		for _, path := range []string{"a", "b", "a/b", "a/bx", "a/x.json", "a/b/x.json", "", "/", "a/", "a*", "a/b/c", "a/["} {
			if want, _ := theirs.IsDelegatedPath(path); ours.Matches(path) != want {
				t.Errorf("%q matches %q: %v, want %v", pattern, path, !want, want)
			}
		}
	}
	// By the specification prefixes are hexadecimal; go-tuf compares base64.
	r := &tuf.DelegatedRole{PathHashPrefixes: []string{"", "ba7816bf8f", "0"}}
	if !r.Matches("abc") || r.Matches("abd") {
		t.Error("SHA-256 of abc begins with ba7816bf8f, that of abd does not")
	}
}

// stricter are the reasons for which this package refuses what go-tuf reads.
var stricter = []string{
	`twice`, `want at least`, `want one of`, `: no "`, `want lower-case hex`, `want an integer`, `want YYYY-MM-DD`,
	`want 1.x`, `no UTF-8`, `bad escape`, `hashes: none`, `an empty one`, `want an object`, `the name "`, `want snapshot.json`,
	`levels`, `want true or false`, `want '`, // null, which go-tuf takes for nothing
}

// FuzzLikeGoTUF: what is accepted here go-tuf accepts, and takes for the same;
// what go-tuf accepts and is refused here is refused for a reason that the list
// above has.
func FuzzLikeGoTUF(f *testing.F) {
	for _, m := range []interface{ ToBytes(bool) ([]byte, error) }{metadata.Root(), metadata.Timestamp(), metadata.Snapshot(), metadata.Targets()} {
		fill(m)
		b, err := m.ToBytes(false)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(bytes.ReplaceAll(b, []byte(`"length"`), []byte(`"Length"`)))
		f.Add(bytes.ReplaceAll(b, []byte(`"x-list"`), []byte(`"x-list":9007199254740993,"y"`)))
	}
	for _, tt := range bad {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		compare[metadata.RootType, tuf.Root](t, in)
		compare[metadata.TimestampType, tuf.Timestamp](t, in)
		compare[metadata.SnapshotType, tuf.Snapshot](t, in)
		compare[metadata.TargetsType, tuf.Targets](t, in)
	})
}

func compare[J metadata.Roles, T tuf.Role](t *testing.T, in []byte) {
	theirs, err := read[J](in)
	ours, ourErr := tuf.Parse[T](in)
	switch {
	case err != nil && ourErr == nil:
		t.Errorf("go-tuf refuses what is accepted here: %v\n%s", err, in)
	case err == nil && ourErr != nil:
		if !slices.ContainsFunc(stricter, func(s string) bool { return strings.Contains(ourErr.Error(), s) }) {
			t.Errorf("go-tuf accepts what is refused here: %v\n%s", ourErr, in)
		}
	case err == nil:
		want, err := cjson.EncodeCanonical(theirs.Signed)
		got, ourErr := ours.Canonical()
		if ourErr != nil {
			t.Errorf("Canonical = %v", ourErr)
		}
		// go-tuf reads integers that it does not know as floating point, and names
		// in capitals too.
		if err == nil && !bytes.Equal(got, want) && !large(got) && !capital(got) {
			t.Errorf("Canonical = %q, want %q", got, want)
		}
	}
}

// read lets go-tuf read a file. Null in the place of a target makes it panic.
func read[J metadata.Roles](in []byte) (m *metadata.Metadata[J], err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return new(metadata.Metadata[J]).FromBytes(in)
}

// names are those of members, in whatever case.
var names = regexp.MustCompile(`(?i)"(_type|spec_version|version|expires|meta|targets|delegations|keys|roles|succinct_roles|length|hashes|custom|` +
	`keytype|scheme|keyval|public|keyids|threshold|name|terminating|paths|path_hash_prefixes|bit_length|name_prefix|consistent_snapshot)":`)

// capital tells whether a name is not in lower case.
func capital(b []byte) bool {
	return slices.ContainsFunc(names.FindAll(b, -1), func(name []byte) bool {
		return bytes.ContainsFunc(name, func(r rune) bool { return r >= 'A' && r <= 'Z' || r > 0x7f }) // ſ is an s too
	})
}

// large tells whether there is an integer of so many digits that floating
// point would not hold it.
func large(b []byte) bool {
	digits := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits > 15 {
			return true
		}
	}
	return false
}
