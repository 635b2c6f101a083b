package signtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"time"
)

var made = sync.OnceValue(func() *Keys {
	k := &Keys{Apps: map[string]*Pair{}, APEX: map[string]*Pair{}, AVB: map[string]*rsa.PrivateKey{}}
	for _, name := range []string{TestKey, Platform, Shared, Media, NetworkStack} {
		k.Apps[name] = newPair(name)
	}
	for _, name := range apexes {
		k.APEX[name] = newPair(name)
		k.AVB[name] = newKey(4096)
	}
	k.AVB["testkey_rsa4096"] = newKey(4096)
	k.AVB["testkey_rsa2048"] = newKey(2048)
	return k
})

func newKeys() *Keys { return made() }

func newKey(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err) // there is no randomness: no test can go on
	}
	return k
}

// newPair makes a key with a certificate that says what it is.
func newPair(name string) *Pair {
	k := newKey(2048)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "miOS test key " + name, Organization: []string{"miOS tests: trust nothing that it signs"}},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		panic(err) // of what was just made
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &Pair{Name: name, Key: k, Certificate: cert}
}

func (k *Keys) public() []crypto.PublicKey {
	var out []crypto.PublicKey
	for _, m := range []map[string]*Pair{k.Apps, k.APEX} {
		for _, p := range m {
			out = append(out, p.Key.Public())
		}
	}
	for _, p := range k.AVB {
		out = append(out, p.Public())
	}
	return out
}

// newPairOnce makes a pair when it is first asked for.
func newPairOnce(name string) func() *Pair {
	return sync.OnceValue(func() *Pair { return newPair(name) })
}
