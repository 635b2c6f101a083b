package apksig

import (
	"crypto"
	//lint:ignore SA1019 old packages are signed with it
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
)

var oidDSA = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}

// ParsePrivateKey reads a private key in PKCS #8, DER, unencrypted: RSA, ECDSA
// or DSA.
func ParsePrivateKey(der []byte) (crypto.Signer, error) {
	var info struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
		Rest      asn1.RawValue `asn1:"optional"`
	}
	if rest, err := asn1.Unmarshal(der, &info); err == nil && len(rest) == 0 && info.Algorithm.Algorithm.Equal(oidDSA) {
		return parseDSA(info.Algorithm.Parameters.FullBytes, info.Key)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("private key: %w: want PKCS #8, unencrypted, in DER", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("private key: it cannot sign: want RSA, ECDSA or DSA")
	}
	return s, nil
}

func parseDSA(params, der []byte) (crypto.Signer, error) {
	var p dsa.Parameters
	if rest, err := asn1.Unmarshal(params, &p); err != nil || len(rest) > 0 {
		return nil, errors.New("private key: the parameters of the DSA key are malformed")
	}
	x := new(big.Int)
	if rest, err := asn1.Unmarshal(der, &x); err != nil || len(rest) > 0 {
		return nil, errors.New("private key: the DSA key is malformed")
	}
	if p.P.BitLen() > maxKeyBits || p.Q.BitLen() > p.P.BitLen() || p.P.Sign() <= 0 || p.Q.Sign() <= 0 ||
		p.G.Cmp(big.NewInt(1)) <= 0 || p.G.Cmp(p.P) >= 0 || x.Sign() <= 0 || x.Cmp(p.Q) >= 0 {
		return nil, errors.New("private key: the numbers of the DSA key are out of range")
	}
	key := &dsaKeyPair{dsa.PrivateKey{PublicKey: dsa.PublicKey{Parameters: p, Y: new(big.Int).Exp(p.G, x, p.P)}, X: x}}
	return key, nil
}

// dsaKeyPair signs as RFC 6979 has it: the same digest gives the same
// signature, and no source of randomness can give the key away. The time that
// signing takes is not constant.
type dsaKeyPair struct{ key dsa.PrivateKey }

func (k *dsaKeyPair) Public() crypto.PublicKey { return &k.key.PublicKey }

// Sign returns the DER signature of digest, which is one of opts' hash.
func (k *dsaKeyPair) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	q := k.key.Q
	size := (q.BitLen() + 7) / 8
	z := leftmost(digest, q)
	seed := append(k.key.X.FillBytes(make([]byte, size)), new(big.Int).Mod(z, q).FillBytes(make([]byte, size))...)
	next := nonces(opts.HashFunc(), seed, q)
	for range 64 { // each nonce fails with a chance of 1 in q
		n := next()
		r := new(big.Int).Exp(k.key.G, n, k.key.P)
		r.Mod(r, q)
		inverse := new(big.Int).ModInverse(n, q)
		if inverse == nil {
			break // q is not prime
		}
		s := new(big.Int).Mul(k.key.X, r)
		s.Add(s, z).Mul(s, inverse).Mod(s, q)
		if r.Sign() > 0 && s.Sign() > 0 {
			return asn1.Marshal(struct{ R, S *big.Int }{r, s})
		}
	}
	return nil, errors.New("the DSA key's parameters are no group of prime order: make another key")
}

// leftmost is bits2int of RFC 6979, 2.3.2: as many of a digest's bits as q has.
func leftmost(digest []byte, q *big.Int) *big.Int {
	z := new(big.Int).SetBytes(digest)
	return z.Rsh(z, uint(max(0, 8*len(digest)-q.BitLen())))
}

// nonces generates numbers from 1 to q-1 (RFC 6979, 3.2).
func nonces(h crypto.Hash, seed []byte, q *big.Int) func() *big.Int {
	k, v := make([]byte, h.Size()), make([]byte, h.Size())
	for i := range v {
		v[i] = 1
	}
	mac := func(parts ...[]byte) []byte {
		m := hmac.New(h.New, k)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	for _, step := range [][]byte{{0}, {1}} {
		k = mac(v, step, seed)
		v = mac(v)
	}
	return func() *big.Int {
		for {
			var t []byte
			for 8*len(t) < q.BitLen() {
				v = mac(v)
				t = append(t, v...)
			}
			n := leftmost(t, q)
			k = mac(v, []byte{0})
			v = mac(v)
			if n.Sign() > 0 && n.Cmp(q) < 0 {
				return n
			}
		}
	}
}

// algorithm returns the signature algorithm for the key, and the key's own
// encoding, which the certificate must have too.
func (s Signer) algorithm() (*algorithm, []byte, error) {
	algs, spki, err := s.algorithms(false, false)
	if err != nil {
		return nil, nil, err
	}
	return algs[0], spki, nil
}

// algorithms returns what AOSP signs with such a key (V2SchemeSigner,
// getSuggestedSignatureAlgorithms): one algorithm, whose digest is no weaker
// than the key, and with verity another one.
func (s Signer) algorithms(verity, pss bool) ([]*algorithm, []byte, error) {
	if s.Key == nil {
		return nil, nil, errors.New("no key: give a private key with the certificate")
	}
	var id, withTree uint32
	switch k := s.Key.Public().(type) {
	case *rsa.PublicKey:
		id, withTree = 0x0103, 0x0421
		if k.N.BitLen() > 3072 {
			id, withTree = 0x0104, 0
		}
		if pss {
			id, withTree = id-2, 0
		}
	case *ecdsa.PublicKey:
		id, withTree = 0x0201, 0x0423
		if k.Params().BitSize > 256 {
			id, withTree = 0x0202, 0
		}
	case *dsa.PublicKey:
		id, withTree = 0x0301, 0x0425
	default:
		return nil, nil, fmt.Errorf("a key of type %T; Android knows RSA and ECDSA, and DSA on old platforms: make one of those", k)
	}
	alg := findAlgorithm(id)
	if pss && alg.key != rsaPSS {
		return nil, nil, errors.New("PSS is for RSA keys: leave it off, or give an RSA key")
	}
	spki, err := s.publicKey()
	if err != nil {
		return nil, nil, err
	}
	algs := []*algorithm{alg}
	if verity && withTree == 0 {
		return nil, nil, errors.New("no algorithm with a verity digest is for that key: leave verity off, or sign with RSA PKCS #1 of at most 3072 bits, ECDSA P-256 or DSA")
	}
	if verity {
		algs = append(algs, findAlgorithm(withTree))
	}
	return algs, spki, nil
}

// publicKey returns the SubjectPublicKeyInfo of the certificate, which is that
// of the key.
func (s Signer) publicKey() ([]byte, error) {
	own, err := certificateKey(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: want X.509 in DER", err)
	}
	for i, c := range s.Chain {
		if _, err := certificateKey(c); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w: want X.509 in DER", i+1, err)
		}
	}
	key, err := parsePublicKey(own)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	same := false
	switch k := key.(type) {
	case *dsa.PublicKey:
		pub, ok := s.Key.Public().(*dsa.PublicKey)
		same = ok && pub.Y.Cmp(k.Y) == 0 && pub.P.Cmp(k.P) == 0 && pub.Q.Cmp(k.Q) == 0 && pub.G.Cmp(k.G) == 0
	case interface{ Equal(crypto.PublicKey) bool }:
		same = k.Equal(s.Key.Public())
	}
	if !same {
		return nil, errors.New("the certificate is of another key: give the one that was made for this key")
	}
	if normal := normalKey(own); normal != nil {
		return normal, nil
	}
	return own, nil
}

// certificates are what a signer shows of itself, its own first.
func (s Signer) certificates() [][]byte { return append([][]byte{s.Certificate}, s.Chain...) }

// signature returns the bare signature of data, which it has verified.
func (s Signer) signature(alg *algorithm, data []byte) ([]byte, error) {
	h := alg.hash.New()
	h.Write(data)
	var opts crypto.SignerOpts = alg.hash
	var random io.Reader
	if alg.key == rsaPSS {
		random, opts = rand.Reader, &rsa.PSSOptions{SaltLength: alg.hash.Size(), Hash: alg.hash}
	}
	sig, err := s.Key.Sign(random, h.Sum(nil), opts)
	if err != nil {
		return nil, err
	}
	if ok, err := alg.verify(s.Key.Public(), data, sig); err != nil || !ok {
		return nil, errors.New("the key makes signatures that do not verify: is it broken, or what holds it?")
	}
	return sig, nil
}

// signatures returns the record with a signature of data by each algorithm.
func (s Signer) signatures(algs []*algorithm, data []byte) ([]byte, error) {
	var b []byte
	for _, a := range algs {
		sig, err := s.signature(a, data)
		if err != nil {
			return nil, err
		}
		b = append(b, a.record(sig)...)
	}
	return b, nil
}

// record is one element of a sequence of pairs of algorithm and value.
func (a *algorithm) record(value []byte) []byte {
	b := []byte{byte(a.id), byte(a.id >> 8), byte(a.id >> 16), byte(a.id >> 24)}
	return prefixed(append(b, prefixed(value)...))
}
