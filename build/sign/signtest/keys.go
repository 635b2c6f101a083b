package signtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os/exec"
	"sync"
	"time"

	"mios/internal/tool"
)

var made = sync.OnceValue(func() *Keys {
	k := &Keys{Apps: map[string]*Pair{}, APEX: map[string]*Pair{}, AVB: map[string]*rsa.PrivateKey{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	pair := func(into map[string]*Pair, name string) {
		wg.Go(func() {
			p := newPair(name)
			mu.Lock()
			defer mu.Unlock()
			into[name] = p
		})
	}
	key := func(name string, bits int) {
		wg.Go(func() {
			p := newKey(bits)
			mu.Lock()
			defer mu.Unlock()
			k.AVB[name] = p
		})
	}
	for _, name := range []string{TestKey, Platform, Shared, Media, NetworkStack} {
		pair(k.Apps, name)
	}
	for _, name := range apexes {
		pair(k.APEX, name)
		key(name, 4096)
	}
	key("testkey_rsa4096", 4096)
	key("testkey_rsa2048", 2048)
	wg.Wait()
	k.APEX[tethering], k.AVB[tethering] = k.APEX[apexes[0]], k.AVB[apexes[0]]
	return k
})

func newKeys() *Keys { return made() }

// newKey makes a key, by a program that takes a small part of the time that Go
// does under the race detector.
func newKey(bits int) *rsa.PrivateKey {
	path, err := tool.Look("openssl")
	if err != nil {
		panic(err) // of which a test would only say the same
	}
	out, err := exec.Command(path, "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", fmt.Sprint("rsa_keygen_bits:", bits), "-outform", "DER").Output()
	if err != nil {
		panic(fmt.Errorf("openssl genpkey: %w", err))
	}
	if k, err := x509.ParsePKCS1PrivateKey(out); err == nil { // OpenSSL 3.0 writes this
		return k
	}
	k, err := x509.ParsePKCS8PrivateKey(out)
	if err != nil {
		panic(fmt.Errorf("openssl genpkey: %w", err))
	}
	return k.(*rsa.PrivateKey)
}

// newPair makes a key with a certificate that says what it is.
func newPair(name string) *Pair { return certify(name, newKey(2048)) }

// certify makes a key's certificate.
func certify(name string, k *rsa.PrivateKey) *Pair {
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
