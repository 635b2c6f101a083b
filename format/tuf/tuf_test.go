package tuf_test

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"mios/format/tuf"
)

// parse reads a file of whatever type, if it is one.
func parse(b []byte) (tuf.Document, error) {
	var err error
	for _, f := range []func() (tuf.Document, error){
		func() (tuf.Document, error) { return tuf.Parse[tuf.Root](b) },
		func() (tuf.Document, error) { return tuf.Parse[tuf.Timestamp](b) },
		func() (tuf.Document, error) { return tuf.Parse[tuf.Snapshot](b) },
		func() (tuf.Document, error) { return tuf.Parse[tuf.Targets](b) },
	} {
		m, e := f()
		if e == nil {
			return m, nil
		}
		if err == nil || !strings.Contains(e.Error(), `, want "`) { // of another type
			err = e
		}
	}
	return nil, err
}

const head = `"spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z"`

func targets(rest string) string {
	return `{"signatures":[],"signed":{"_type":"targets",` + head + `,"targets":{}` + rest + `}}`
}

func delegations(rest string) string { return targets(`,"delegations":{"keys":{},` + rest + `}`) }

func target(rest string) string {
	return strings.Replace(targets(""), `"targets":{}`, `"targets":{"a":{`+rest+`}}`, 1)
}

func meta(kind, rest string) string {
	return `{"signatures":[],"signed":{"_type":"` + kind + `",` + head + `,"meta":` + rest + `}}`
}

func root(roles string) string {
	return `{"signatures":[],"signed":{"_type":"root",` + head + `,"consistent_snapshot":true,"keys":{},"roles":{` + roles + `}}}`
}

const roles = `"root":{"keyids":[],"threshold":1},"timestamp":{"keyids":[],"threshold":1},"snapshot":{"keyids":[],"threshold":1},"targets":{"keyids":[],"threshold":1}`

// good are files that are read.
var good = []string{
	targets(""), root(roles), root(roles + `,"mirrors":{"keyids":["a","b"],"threshold":2}`), meta("timestamp", `{"snapshot.json":{"version":1}}`), meta("snapshot", `{}`),
	delegations(`"roles":[]`), delegations(`"succinct_roles":{"keyids":[],"threshold":1,"bit_length":32,"name_prefix":""}`),
	target(`"length":0,"hashes":{"sha256":"00"},"custom":{}`),
	" \t\r\n" + strings.ReplaceAll(targets(`,"x":"\u00fc\ud83d\ude42\/\b\f\n\r\t\"\\"`), ",", "\n,\t") + " ",
	targets(`,"x":` + strings.Repeat("[", 30) + strings.Repeat("]", 30)),
	targets(`,"x":[-9223372036854775808,9223372036854775807,0,null,true,false,{}]`),
	strings.Replace(targets(""), `"2030-01-01T00:00:00Z"`, `"2030-01-01T00:00:00.123456789Z"`, 1),
	strings.Replace(targets(""), `[]`, `[{"keyid":"a","sig":""},{"keyid":"b","sig":"00ff","x":1}]`, 1),
	strings.Replace(delegations(`"roles":[]`), `"keys":{}`, `"keys":{"x":{"keytype":"of tomorrow","scheme":"new","keyval":{"public":"p","x":1},"x":2}}`, 1),
}

// bad are files that are refused, and why.
var bad = []struct{ in, want string }{
	{"", "offset 0x0: metadata: want '{'"},
	{"null", "want '{'"},
	{"[]", "want '{'"},
	{"{}", `no "signed"`},
	{"{\x00}", `want '"'`},
	{targets("") + "{}", "more after the end"},
	{targets("")[:60], "want"},
	{strings.Replace(targets(""), `"signatures":[],`, "", 1), `no "signatures"`},
	{strings.Replace(targets(""), `"signatures":[]`, `"Signatures":[]`, 1), `no "signatures"`},
	{strings.Replace(targets(""), `"signatures":[]`, `"signatures":null`, 1), `want '['`},
	{strings.Replace(targets(""), `[]`, `[{"keyid":"a","sig":"00"},{"keyid":"a","sig":"01"}]`, 1), `two signatures by the key "a"`},
	{strings.Replace(targets(""), `[]`, `[{"keyid":"a","sig":"AA"}]`, 1), "lower-case hexadecimal"},
	{strings.Replace(targets(""), `[]`, `[{"keyid":"a","sig":"0"}]`, 1), "lower-case hexadecimal"},
	{strings.Replace(targets(""), `[]`, `[{"keyid":"a"}]`, 1), `no "sig"`},
	{strings.Replace(targets(""), `[]`, `[,]`, 1), "want"},
	{strings.Replace(targets(""), `[]`, `[{"keyid":"a","sig":""},]`, 1), "want"},
	{targets(`,"version":2`), `"version" twice`},
	{targets(`,"vers\u0069on":2`), `"version" twice`},
	{targets(`,"x":{"a":1,"a":1}`), `"a" twice`},
	{targets(`,`), "want"},
	{targets(`,"x"`), "want ':'"},
	{targets(`,"x":1.5`), "without fraction"},
	{targets(`,"x":1e2`), "without fraction"},
	{targets(`,"x":-0`), "want an integer"},
	{targets(`,"x":01`), "want an integer"},
	{targets(`,"x":+1`), "want an integer"},
	{targets(`,"x":9223372036854775808`), "want an integer"},
	{targets(`,"x":nul`), "no JSON"},
	{targets(`,"x":tru`), "want true or false"},
	{targets(`,"x":"\ud800"`), "bad escape"},
	{targets(`,"x":"\ud800\u0041"`), "bad escape"},
	{targets(`,"x":"\u12"`), "bad escape"},
	{targets(`,"x":"\a"`), "bad escape"},
	{targets(",\"x\":\"\xff\""), "no UTF-8"},
	{targets(",\"x\":\"\n\""), "control character"},
	{targets(`,"x":"`), "without an end"},
	{targets(`,"x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31)), "more than 32 levels"},
	{strings.Replace(targets(""), `"targets"`, `"mirrors"`, 1), `type "mirrors"`},
	{strings.Replace(targets(""), `"1.0.31"`, `"2.0.0"`, 1), `version "2.0.0" of the specification`},
	{strings.Replace(targets(""), `"1.0.31"`, `"1.x"`, 1), `version "1.x" of the specification`},
	{strings.Replace(targets(""), `"version":1`, `"version":0`, 1), "version: 0, want at least 1"},
	{strings.Replace(targets(""), `"version":1`, `"version":"1"`, 1), "want an integer"},
	{strings.Replace(targets(""), `2030-01-01T00:00:00Z`, `2030-01-01T01:00:00+01:00`, 1), "want YYYY-MM-DD"},
	{strings.Replace(targets(""), `2030-01-01T00:00:00Z`, `2030-01-01T00:00:00.10Z`, 1), "want YYYY-MM-DD"},
	{strings.Replace(targets(""), `2030-01-01T00:00:00Z`, `2030-02-30T00:00:00Z`, 1), "want YYYY-MM-DD"},
	{strings.Replace(targets(""), `,"targets":{}`, "", 1), `no "targets"`},
	{target(`"length":1`), `no "hashes"`},
	{target(`"length":1,"hashes":{}`), "hashes: none"},
	{target(`"length":1,"hashes":{"sha256":""}`), "an empty one"},
	{target(`"length":-1,"hashes":{"sha256":"00"}`), "want at least 0"},
	{target(`"length":1,"hashes":{"sha256":"00"},"custom":null`), "custom: want an object"},
	{target(`"length":1,"hashes":{"sha256":"00"},"custom":{"a":0.5}`), "without fraction"},
	{strings.Replace(targets(""), `"targets":{}`, `"targets":{"a":null}`, 1), "want '{'"},
	{meta("timestamp", `{}`), "want snapshot.json"},
	{meta("timestamp", `{"snapshot.json":{"version":1},"x.json":{"version":1}}`), "want snapshot.json"},
	{meta("timestamp", `{"snapshot.json":null}`), "want '{'"},
	{meta("snapshot", `{"a.json":{"version":1,"length":0}}`), "want at least 1"},
	{meta("snapshot", `{"a.json":{}}`), `no "version"`},
	{root(`"root":{"keyids":[],"threshold":1}`), `no "timestamp"`},
	{root(roles + `,"x":null`), "want '{'"},
	{root(strings.Replace(roles, `"threshold":1`, `"threshold":0`, 1)), "want at least 1"},
	{root(strings.Replace(roles, `[]`, `["a","b","a"]`, 1)), "one of them twice"},
	{strings.Replace(root(roles), `"keys":{}`, `"keys":{"a":null}`, 1), "want '{'"},
	{strings.Replace(root(roles), `"keys":{}`, `"keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{}}}`, 1), `no "public"`},
	{delegations(`"x":1`), "want one of roles and succinct_roles"},
	{delegations(`"roles":[],"succinct_roles":{"keyids":[],"threshold":1,"bit_length":1,"name_prefix":"a"}`), "want one of roles and succinct_roles"},
	{delegations(`"succinct_roles":{"keyids":[],"threshold":1,"bit_length":33,"name_prefix":"a"}`), "want 1 to 32"},
	{delegations(`"succinct_roles":{"keyids":[],"threshold":1,"bit_length":0,"name_prefix":"a"}`), "want at least 1"},
	{delegations(`"roles":[{"name":"a","keyids":[],"threshold":1,"terminating":true}]`), "want one of paths"},
	{delegations(`"roles":[{"name":"a","keyids":[],"threshold":1,"terminating":true,"paths":[],"path_hash_prefixes":[]}]`), "want one of paths"},
	{delegations(`"roles":[{"name":"root","keyids":[],"threshold":1,"terminating":true,"paths":[]}]`), `the name "root"`},
	{delegations(`"roles":[{"name":"a","keyids":[],"threshold":1,"terminating":true,"paths":[]},{"name":"a","keyids":[],"threshold":1,"terminating":true,"paths":[]}]`), `the name "a" twice`},
}

func TestParse(t *testing.T) {
	for _, in := range good {
		if _, err := parse([]byte(in)); err != nil {
			t.Errorf("Parse(%s) = %v", in, err)
		}
	}
	for _, tt := range bad {
		_, err := parse([]byte(tt.in))
		if _, ok := errors.AsType[*tuf.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%s) = %v, want a FormatError with %q", tt.in, err, tt.want)
		}
	}
	if _, err := parse(bytes.Repeat([]byte(" "), tuf.MaxSize+1)); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("Parse of 16 MiB and a byte = %v", err)
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : [ 1 , -2, null,true ] , "a\"\\" : "\u00fc\n\u0001" } `: "{\"a\\\"\\\\\":\"ü\n\x01\",\"b\":[1,-2,null,true]}",
		`{}`: "{}", `[]`: "[]", `""`: `""`, `0`: "0", `{"":{"ü":1,"z":2,"🙂":3,"\uffff":4}}`: "{\"\":{\"z\":2,\"ü\":1,\"\uffff\":4,\"🙂\":3}}",
	} {
		got, err := tuf.Canonical([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("Canonical(%s) = %q, %v; want %q", in, got, err, want)
		}
		judge, err := cjson.EncodeCanonical(rawJSON(in))
		if err != nil || !bytes.Equal(judge, got) {
			t.Errorf("Canonical(%s) = %q, and securesystemslib has %q, %v", in, got, judge, err)
		}
	}
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// sign returns targets metadata that some keys signed.
func sign(t *testing.T, signers ...crypto.Signer) *tuf.Metadata[tuf.Targets] {
	t.Helper()
	m := tuf.New[tuf.Targets]()
	m.Signed.Expires = time.Unix(1e9, 0)
	for _, s := range signers {
		if err := tuf.Sign(m, s); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestThreshold(t *testing.T) {
	all := keys(t)
	a, b := all["P-256"], all["Ed25519"]
	group := func(threshold int, signers ...crypto.Signer) tuf.Delegation {
		g := tuf.Delegation{Keys: map[string]*tuf.Key{}, Threshold: threshold}
		for _, s := range signers {
			k, err := tuf.NewKey(s.Public())
			if err != nil {
				t.Fatal(err)
			}
			id, err := k.ID()
			if err != nil {
				t.Fatal(err)
			}
			g.Keys[id], g.KeyIDs = k, append(g.KeyIDs, id)
		}
		return g
	}
	both := sign(t, a, b)
	for _, tt := range []struct {
		name string
		g    tuf.Delegation
		m    tuf.Document
		want string // "" if it verifies
	}{
		{"2 of 2", group(2, a, b), both, ""},
		{"1 of 2", group(1, a, b), sign(t, b), ""},
		{"one too few", group(2, a, b), sign(t, b), "signed by 1 keys, want 2"},
		{"a stranger's", group(1, a), sign(t, b), "signed by 0 keys, want 1"},
		{"one key, named twice", group(2, a, a), both, "signed by 1 keys, want 2"},
		{"nobody", group(0, a), both, "which anybody could"},
		{"no keys", group(1), both, "which anybody could"},
		{"more than there are", group(3, a, b), both, "signed by 2 keys, want 3"},
	} {
		if err := tt.g.Verify(tt.m); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Verify = %v, want %q", tt.name, err, tt.want)
		}
	}
	// One key that goes by two names, with a signature under each.
	g := group(2, a)
	k := *g.Keys[g.KeyIDs[0]]
	k.Type = "ecdsa-sha2-nistp256"
	g.Keys["alias"], g.KeyIDs = &k, append(g.KeyIDs, "alias")
	m := sign(t, a)
	m.Signatures = append(m.Signatures, tuf.Signature{KeyID: "alias", Sig: m.Signatures[0].Sig})
	if err := g.Verify(m); err == nil || !strings.Contains(err.Error(), "signed by 1 keys") {
		t.Errorf("by one key under two names: Verify = %v", err)
	}
	// A key that is not there, and one that is none.
	g.KeyIDs = append(g.KeyIDs, "gone")
	if err := g.Verify(m); err == nil || !strings.Contains(err.Error(), `"gone" is not there`) {
		t.Errorf("with a key that is not there: Verify = %v", err)
	}
	g.Keys["gone"] = &tuf.Key{Type: "ed25519", Scheme: "ed25519", Value: tuf.KeyValue{Public: "00"}}
	if err := g.Verify(m); err == nil || !strings.Contains(err.Error(), "32 bytes") {
		t.Errorf("with a short key: Verify = %v", err)
	}
	// What was signed and changed since.
	m = sign(t, a)
	m.Signed.Unrecognized = map[string]any{"x": "y"}
	if err := group(1, a).Verify(m); err == nil {
		t.Error("Verify takes what was changed since")
	}
	if err := tuf.Sign(m, a); err != nil || len(m.Signatures) != 1 {
		t.Errorf("Sign again = %v, with %d signatures, want 1", err, len(m.Signatures))
	}
	if err := group(1, a).Verify(m); err != nil {
		t.Errorf("Verify of what was signed again = %v", err)
	}
}

func TestDelegation(t *testing.T) {
	r := tuf.New[tuf.Root]()
	if _, err := r.Signed.Delegation("os"); err == nil {
		t.Error("a root delegates to os")
	}
	m := tuf.New[tuf.Targets]()
	if _, err := m.Signed.Delegation("a"); err == nil {
		t.Error("targets without delegations delegate to a")
	}
	m.Signed.Delegations = &tuf.Delegations{SuccinctRoles: &tuf.SuccinctRoles{BitLength: 1, NamePrefix: "a", Threshold: 3}}
	if g, err := m.Signed.Delegation("a-1"); err != nil || g.Threshold != 3 {
		t.Errorf("Delegation of a bin = %+v, %v", g, err)
	}
	if _, err := m.Signed.Delegation("a-2"); err == nil {
		t.Error("two bins have a third")
	}
}

func TestPublicKey(t *testing.T) {
	all := keys(t)
	p256, _ := tuf.NewKey(all["P-256"].Public())
	p384, _ := tuf.NewKey(all["P-384"].Public())
	rsaKey, _ := tuf.NewKey(all["RSA"].Public())
	pem := p256.Value.Public
	for _, tt := range []struct {
		kind, scheme, public string
		ok                   bool
	}{
		{"ecdsa", "ecdsa-sha2-nistp256", pem, true},
		{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", strings.TrimSpace(pem), true},
		{"ecdsa", "ecdsa-sha2-nistp384", p384.Value.Public, true},
		{"ecdsa", "ecdsa-sha2-nistp256", p384.Value.Public, false},
		{"ecdsa", "ecdsa-sha2-nistp384", pem, false},
		{"ecdsa", "ed25519", pem, false},
		{"rsa", "rsassa-pss-sha256", rsaKey.Value.Public, true},
		{"rsa", "rsassa-pss-sha256", pem, false},
		{"rsa", "rsassa-pkcs1v15-sha256", rsaKey.Value.Public, false},
		{"ecdsa", "ecdsa-sha2-nistp256", rsaKey.Value.Public, false},
		{"ecdsa", "ecdsa-sha2-nistp256", "junk\n" + pem, false},
		{"ecdsa", "ecdsa-sha2-nistp256", pem + pem, false},
		{"ecdsa", "ecdsa-sha2-nistp256", strings.ReplaceAll(pem, "PUBLIC", "PRIVATE"), false},
		{"ecdsa", "ecdsa-sha2-nistp256", "", false},
		{"ed25519", "ed25519", strings.Repeat("0a", 32), true},
		{"ed25519", "ed25519", strings.Repeat("0a", 31), false},
		{"ed25519", "ed25519", strings.Repeat("xx", 32), false},
		{"", "", "", false},
	} {
		k := &tuf.Key{Type: tt.kind, Scheme: tt.scheme, Value: tuf.KeyValue{Public: tt.public}}
		if _, err := k.PublicKey(); (err == nil) != tt.ok {
			t.Errorf("PublicKey of %s, %s, %q = %v, want ok = %v", tt.kind, tt.scheme, tt.public, err, tt.ok)
		}
	}
	if k, err := tuf.NewKey("no key"); err == nil {
		t.Errorf("NewKey of a string = %+v", k)
	}
}

// FuzzParse: what is accepted is written such that it is read again, and says
// and signs the same; the file is then the same byte for byte.
func FuzzParse(f *testing.F) {
	for _, in := range good {
		f.Add([]byte(in))
	}
	for _, tt := range bad {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := parse(in)
		if err != nil {
			if _, ok := errors.AsType[*tuf.FormatError](err); !ok {
				t.Errorf("Parse = %v, want a FormatError", err)
			}
			return
		}
		b, err := m.Bytes()
		if err != nil {
			t.Fatalf("Bytes of what was accepted: %v", err)
		}
		// Nothing in the file is lost: neither the signed part nor the rest.
		want, err := tuf.Canonical(in)
		if err != nil {
			t.Fatalf("Canonical of what was accepted: %v", err)
		}
		if got, err := tuf.Canonical(b); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("written: %s, %v\nread: %s", got, err, want)
		}
		signed, err := m.Canonical()
		if err != nil || !bytes.Contains(want, signed) {
			t.Fatalf("signed: %s, %v\nread: %s", signed, err, want)
		}
		back, err := parse(b)
		if err != nil {
			t.Fatalf("Parse of what was written: %v", err)
		}
		if again, err := back.Bytes(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("written twice: %s, %v\nonce: %s", again, err, b)
		}
	})
}
