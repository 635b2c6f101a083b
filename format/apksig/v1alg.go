package apksig

import (
	"crypto"
	"fmt"
	"math"
	"strings"
)

// A jarDigest is a digest algorithm that signature blocks name.
type jarDigest struct {
	oid  string // as the bytes that encode it
	hash crypto.Hash
}

var jarDigests = []jarDigest{
	{"\x2a\x86\x48\x86\xf7\x0d\x02\x05", crypto.MD5},
	{"\x2b\x0e\x03\x02\x1a", crypto.SHA1},
	{"\x60\x86\x48\x01\x65\x03\x04\x02\x04", crypto.SHA224},
	{"\x60\x86\x48\x01\x65\x03\x04\x02\x01", crypto.SHA256},
	{"\x60\x86\x48\x01\x65\x03\x04\x02\x02", crypto.SHA384},
	{"\x60\x86\x48\x01\x65\x03\x04\x02\x03", crypto.SHA512},
}

// A jarCipher is a signature algorithm that signature blocks name.
type jarCipher struct {
	oid  string // as the bytes that encode it
	kind keyKind
	hash crypto.Hash // 0: the block's digest algorithm
}

var jarCiphers = []jarCipher{
	{oidRSA, rsaPKCS1, 0},
	{"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", rsaPKCS1, crypto.MD5},
	{"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", rsaPKCS1, crypto.SHA1},
	{"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", rsaPKCS1, crypto.SHA224},
	{"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", rsaPKCS1, crypto.SHA256},
	{"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", rsaPKCS1, crypto.SHA384},
	{"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", rsaPKCS1, crypto.SHA512},
	{"\x2a\x86\x48\xce\x38\x04\x01", dsaKey, 0},
	{"\x2a\x86\x48\xce\x38\x04\x03", dsaKey, crypto.SHA1},
	{"\x60\x86\x48\x01\x65\x03\x04\x03\x01", dsaKey, crypto.SHA224},
	{"\x60\x86\x48\x01\x65\x03\x04\x03\x02", dsaKey, crypto.SHA256},
	{"\x2a\x86\x48\xce\x3d\x02\x01", ecdsaKey, 0},
	{"\x2a\x86\x48\xce\x3d\x04\x01", ecdsaKey, crypto.SHA1},
	{"\x2a\x86\x48\xce\x3d\x04\x03\x01", ecdsaKey, crypto.SHA224},
	{"\x2a\x86\x48\xce\x3d\x04\x03\x02", ecdsaKey, crypto.SHA256},
	{"\x2a\x86\x48\xce\x3d\x04\x03\x03", ecdsaKey, crypto.SHA384},
	{"\x2a\x86\x48\xce\x3d\x04\x03\x04", ecdsaKey, crypto.SHA512},
}

// An sdkRange is a run of SDK versions, both ends included.
type sdkRange struct{ from, to int }

const newest = math.MaxInt32

// jarSupport says which platforms know a digest algorithm with a signature
// algorithm that names no other: plain if it names none, same if it names the
// same one (AOSP tools/apksig, OidConstants).
var jarSupport = []struct {
	kind        keyKind
	hash        crypto.Hash
	plain, same []sdkRange
}{
	{rsaPKCS1, crypto.MD5, []sdkRange{{0, newest}}, []sdkRange{{0, 8}, {21, newest}}},
	{rsaPKCS1, crypto.SHA1, []sdkRange{{0, newest}}, []sdkRange{{0, newest}}},
	{rsaPKCS1, crypto.SHA224, []sdkRange{{0, 8}, {21, newest}}, []sdkRange{{0, 8}, {21, newest}}},
	{rsaPKCS1, crypto.SHA256, []sdkRange{{0, 8}, {18, newest}}, []sdkRange{{0, 8}, {18, newest}}},
	{rsaPKCS1, crypto.SHA384, []sdkRange{{18, newest}}, []sdkRange{{21, newest}}},
	{rsaPKCS1, crypto.SHA512, []sdkRange{{18, newest}}, []sdkRange{{21, newest}}},
	{dsaKey, crypto.SHA1, []sdkRange{{0, newest}}, []sdkRange{{9, newest}}},
	{dsaKey, crypto.SHA224, []sdkRange{{22, newest}}, []sdkRange{{21, newest}}},
	{dsaKey, crypto.SHA256, []sdkRange{{22, newest}}, []sdkRange{{21, newest}}},
	{ecdsaKey, crypto.SHA1, []sdkRange{{18, newest}}, []sdkRange{{18, newest}}},
	{ecdsaKey, crypto.SHA224, []sdkRange{{21, newest}}, []sdkRange{{21, newest}}},
	{ecdsaKey, crypto.SHA256, []sdkRange{{18, newest}}, []sdkRange{{21, newest}}},
	{ecdsaKey, crypto.SHA384, []sdkRange{{18, newest}}, []sdkRange{{21, newest}}},
	{ecdsaKey, crypto.SHA512, []sdkRange{{18, newest}}, []sdkRange{{21, newest}}},
}

// jarAlgorithm is how a signature block is signed.
type jarAlgorithm struct {
	digest crypto.Hash // 0: unknown
	cipher *jarCipher  // nil: unknown
}

// hash returns the digest algorithm that is signed with.
func (a jarAlgorithm) hash() crypto.Hash {
	if a.cipher.hash != 0 {
		return a.cipher.hash
	}
	return a.digest
}

// support returns the platforms that verify such a signature.
func (a jarAlgorithm) support() []sdkRange {
	if a.digest == 0 || a.cipher == nil {
		return nil
	}
	h := a.cipher.hash
	for _, s := range jarSupport {
		switch {
		case s.kind != a.cipher.kind || s.hash != a.digest:
		case h == 0:
			return s.plain
		case h == a.digest:
			return s.same
		}
	}
	switch {
	case h == 0 || h == a.digest:
		return nil
	case a.cipher.kind == rsaPKCS1 && (a.digest == crypto.SHA224 && h == crypto.SHA256 ||
		a.digest == crypto.SHA256 && h == crypto.SHA1 || a.digest == crypto.SHA512 && h == crypto.SHA384):
		return []sdkRange{{21, 21}}
	default: // the two disagree, which only these let pass
		return []sdkRange{{21, 23}}
	}
}

// unsupported returns the SDK versions from least to most that do not know a,
// in words, and whether there are any.
func (a jarAlgorithm) unsupported(least, most int) (string, bool) {
	var gaps []string
	gap := func(from, to int) {
		switch {
		case from > to:
		case from == to:
			gaps = append(gaps, fmt.Sprint(from))
		case to == newest:
			gaps = append(gaps, fmt.Sprintf("%d+", from))
		default:
			gaps = append(gaps, fmt.Sprintf("%d-%d", from, to))
		}
	}
	for _, r := range a.support() {
		if r.to < least {
			continue
		}
		gap(least, min(r.from-1, most))
		if r.to >= most {
			return strings.Join(gaps, ", "), len(gaps) > 0
		}
		least = r.to + 1
	}
	gap(least, most)
	return strings.Join(gaps, ", "), len(gaps) > 0
}

func findDigest(oid string) crypto.Hash {
	for _, d := range jarDigests {
		if d.oid == oid {
			return d.hash
		}
	}
	return 0
}

func findCipher(oid string) *jarCipher {
	for i := range jarCiphers {
		if jarCiphers[i].oid == oid {
			return &jarCiphers[i]
		}
	}
	return nil
}

// digestName and cipherName are for a person to read.
func digestName(oid string) string {
	if h := findDigest(oid); h != 0 {
		return h.String()
	}
	return fmt.Sprintf("%x", oid)
}

func cipherName(oid string) string {
	c := findCipher(oid)
	if c == nil {
		return fmt.Sprintf("%x", oid)
	}
	name := map[keyKind]string{rsaPKCS1: "RSA", dsaKey: "DSA", ecdsaKey: "ECDSA"}[c.kind]
	if c.hash != 0 {
		name = c.hash.String() + " with " + name
	}
	return name
}
