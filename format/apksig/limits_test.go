package apksig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"
)

// TestLimits: what a package claims decides neither time nor memory.
func TestLimits(t *testing.T) {
	record := prefixed(append(binary.LittleEndian.AppendUint32(nil, 0x9999), prefixed(nil)...))
	if got, ok := readRecords(&cursor{b: bytes.Repeat(record, maxRecords)}); !ok || len(got) != maxRecords {
		t.Errorf("readRecords of %d = %d, %v", maxRecords, len(got), ok)
	}
	if _, ok := readRecords(&cursor{b: bytes.Repeat(record, maxRecords+1)}); ok {
		t.Errorf("readRecords took more than %d", maxRecords)
	}

	n := new(big.Int).Lsh(big.NewInt(1), maxKeyBits)
	key := &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
	sum := sha256.Sum256(nil)
	if ok, err := findAlgorithm(0x0103).verify(key, nil, sum[:]); ok || err != errKeySize {
		t.Errorf("verify with a key of %d bits = %v, %v; want %v", key.N.BitLen(), ok, err, errKeySize)
	}
}

// TestManyAttributes: a section of 16 MiB, of which a few KiB of a package are
// enough, is not looked at for minutes.
func TestManyAttributes(t *testing.T) {
	text := "Name: a\nDigest-Algorithms: " + strings.Repeat("a ", 4<<20) + "\n" + strings.Repeat("b: c\n", 1<<20)
	attrs := section{text: text}.attributes(nil)
	if len(attrs) != maxAttributes {
		t.Errorf("%d attributes, want %d", len(attrs), maxAttributes)
	}
	if got := statedDigests(attrs, "-Digest", 1, newest); got != nil {
		t.Errorf("statedDigests = %v", got)
	}
}

// TestLongLineage: a lineage in which every node verifies ends somewhere.
func TestLongLineage(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.LittleEndian.AppendUint32(nil, lineageVersion)
	for i := range maxLineage + 1 {
		if i == maxLineage {
			if l, fault := readLineage(b); fault != nil || l.Len() != maxLineage {
				t.Fatalf("readLineage of %d nodes = %v, %v", maxLineage, l, fault)
			}
		}
		b = append(b, lineageNodeBytes(t, key, i)...)
	}
	if _, fault := readLineage(b); fault == nil || !strings.Contains(fault.msg, "more than 128 certificates") {
		t.Errorf("readLineage of %d nodes = %v", maxLineage+1, fault)
	}
}

// lineageNodeBytes is node i of a lineage, all of whose certificates have the
// same key.
func lineageNodeBytes(t *testing.T, key *ecdsa.PrivateKey, i int) []byte {
	t.Helper()
	const ecdsaSHA256 = 0x0201
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1))}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	signed := binary.LittleEndian.AppendUint32(prefixed(cert), ecdsaSHA256)
	sum := sha256.Sum256(signed)
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	node := binary.LittleEndian.AppendUint32(prefixed(signed), 0)
	node = binary.LittleEndian.AppendUint32(node, ecdsaSHA256)
	return prefixed(append(node, prefixed(sig)...))
}
