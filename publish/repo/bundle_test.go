package repo_test

import (
	"crypto"
	"errors"
	"strings"
	"testing"

	"mios"
	"mios/publish/repo"
)

// noKeys has no key for any role.
type noKeys struct{}

func (noKeys) Signers(string) ([]crypto.Signer, error) { return nil, nil }

// signed is a bundle of one request, with one key of the given kind that signs.
const signed = `{"requests":[{"role":"claims","groups":[{"keys":{"ab":{"keytype":"KIND","scheme":"KIND","keyval":{"public":"VALUE"}}},"threshold":1}],
"metadata":{"signatures":[{"keyid":"ab","sig":"00"}],"signed":{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0.31","targets":{},"version":2}}}]}`

func bundle(kind, value string) string {
	return strings.NewReplacer("KIND", kind, "VALUE", value).Replace(signed)
}

// TestHostileBundle: a bundle comes from another machine.
func TestHostileBundle(t *testing.T) {
	for _, in := range []string{
		bundle("ed25519", "00"), bundle("ed25519", ""), bundle("ecdsa", "x"), bundle("rsa", ""), bundle("none", "00"),
		`{"requests":[{"role":"claims","groups":[{"keys":{"ab":null},"threshold":1}],"metadata":{}}]}`,
		`{"requests":[{"role":"root","groups":[],"metadata":{"signatures":[],"signed":{"_type":"root","roles":{"root":null}}}}]}`,
		`{"requests":[{"role":"claims","groups":null,"metadata":null}]}`,
		`{"requests":[], "more": 1}`, `[]`, ``,
	} {
		b, err := repo.ReadBundle([]byte(in))
		if err != nil {
			if !errors.Is(err, mios.ErrInvalid) {
				t.Errorf("ReadBundle(%s) = %v, want invalid", in, err)
			}
			continue
		}
		use(b)
	}
}

// use does with a bundle what mios repo sign does.
func use(b *repo.Bundle) {
	b.Sign(noKeys{})
	for _, r := range b.Requests {
		r.Describe()
	}
}

// TestDescribePrintable: what a person decides by cannot hide itself.
func TestDescribePrintable(t *testing.T) {
	in := strings.Replace(bundle("ed25519", strings.Repeat("00", 32)), `"targets":{}`, `"targets":{"a\u001b[2K\r\nb":{"length":1,"hashes":{"sha256":"`+strings.Repeat("00", 32)+`"}}}`, 1)
	b, err := repo.ReadBundle([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := b.Requests[0].Describe()
	if err != nil || len(lines) != 2 || strings.ContainsAny(strings.Join(lines, ""), "\x1b\r\n") {
		t.Errorf("Describe = %q, %v", lines, err)
	}
}

func FuzzReadBundle(f *testing.F) {
	f.Add([]byte(bundle("ed25519", strings.Repeat("00", 32))))
	f.Add([]byte(bundle("ecdsa", "x")))
	f.Fuzz(func(t *testing.T, in []byte) {
		if b, err := repo.ReadBundle(in); err == nil {
			use(b)
		}
	})
}
