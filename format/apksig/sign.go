package apksig

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"mios/format/apk"
)

// Sign writes the package in the first size bytes of r, signed, to w. A
// signing block that it has is replaced. With RSA up to 3072 bits and ECDSA up
// to 256 the digests are SHA-256, above SHA-512, as in AOSP's apksigner. A v3
// signature is for the platforms from 24 on; those from 28 on heed it.
func Sign(ctx context.Context, r io.ReaderAt, size int64, o SignOptions, w io.Writer) error {
	if !o.V2 && !o.V3 {
		return errors.New("sign: neither v2 nor v3 is asked for")
	}
	if len(o.Signers) != 1 {
		return fmt.Errorf("sign: %d signers, want one", len(o.Signers))
	}
	signer := o.Signers[0]
	alg, spki, err := signer.algorithm()
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	f, err := apk.Open(r, size)
	if err != nil {
		return err
	}
	s, _, err := readSections(r, &f.Layout)
	if err != nil {
		return err
	}
	pad := (page - s.end%page) % page
	if s.end+pad+maxBlock+s.dirN > math.MaxUint32 {
		return fmt.Errorf("sign: a package of %d bytes is too large", size)
	}
	before := &padded{r: r, n: s.end}
	binary.LittleEndian.PutUint32(s.eocd[16:], uint32(s.end+pad))
	parts := s.parts()
	parts[0] = part{before, s.end + pad}
	sums, err := chunked(ctx, parts, []crypto.Hash{alg.hash})
	if err != nil {
		return err
	}
	var pairs []pair
	if o.V2 {
		b, err := o.v2(alg, spki, sums[0])
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		pairs = append(pairs, pair{blockV2, b})
	}
	if o.V3 {
		b, err := signer.v3(alg, spki, sums[0])
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		pairs = append(pairs, pair{blockV3, b})
	}
	block := appendBlock(nil, pairs)
	binary.LittleEndian.PutUint32(s.eocd[16:], uint32(s.end+pad+int64(len(block))))
	_, err = io.Copy(w, io.MultiReader(
		io.NewSectionReader(before, 0, s.end+pad), bytes.NewReader(block),
		io.NewSectionReader(r, s.dir, s.dirN), bytes.NewReader(s.eocd)))
	return err
}

// padded is the first n bytes of r, and zeros.
type padded struct {
	r io.ReaderAt
	n int64
}

func (p *padded) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < p.n {
		n = int(min(int64(len(b)), p.n-off))
		if err := readFull(p.r, b[:n], off); err != nil {
			return 0, err
		}
	}
	clear(b[n:])
	return len(b), nil
}

// algorithm returns the signature algorithm for the key, and the key's own
// encoding, which the certificate must have too.
func (s Signer) algorithm() (*algorithm, []byte, error) {
	if s.Key == nil {
		return nil, nil, errors.New("no key")
	}
	id := uint32(0)
	switch k := s.Key.Public().(type) {
	case *rsa.PublicKey:
		id = 0x0103
		if k.N.BitLen() > 3072 {
			id = 0x0104
		}
	case *ecdsa.PublicKey:
		id = 0x0201
		if k.Params().BitSize > 256 {
			id = 0x0202
		}
	default:
		return nil, nil, fmt.Errorf("a key of type %T; Android knows RSA and ECDSA: make one of those", k)
	}
	spki, err := x509.MarshalPKIXPublicKey(s.Key.Public())
	if err != nil {
		return nil, nil, err
	}
	own, err := certificateKey(s.Certificate)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	if !bytes.Equal(own, spki) {
		return nil, nil, errors.New("the certificate is of another key")
	}
	return findAlgorithm(id), spki, nil
}

// sign returns the record with the signature of data.
func (s Signer) sign(alg *algorithm, data []byte) ([]byte, error) {
	h := alg.hash.New()
	h.Write(data)
	sig, err := s.Key.Sign(nil, h.Sum(nil), alg.hash)
	if err != nil {
		return nil, err
	}
	return alg.record(sig), nil
}

// record is one element of a sequence of pairs of algorithm and value.
func (a *algorithm) record(value []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, a.id)
	return prefixed(append(b, prefixed(value)...))
}

func (o SignOptions) v2(alg *algorithm, spki, sum []byte) ([]byte, error) {
	var attrs []byte
	if o.V3 { // a stripped v3 signature shall be noticed
		le := binary.LittleEndian
		attrs = prefixed(le.AppendUint32(le.AppendUint32(nil, attrStripped), 3))
	}
	data := prefixed(alg.record(sum), prefixed(o.Signers[0].Certificate), attrs, nil)
	sigs, err := o.Signers[0].sign(alg, data)
	if err != nil {
		return nil, err
	}
	return prefixed(prefixed(prefixed(data, sigs, spki))), nil
}

func (s Signer) v3(alg *algorithm, spki, sum []byte) ([]byte, error) {
	le := binary.LittleEndian
	sdks := le.AppendUint32(le.AppendUint32(nil, uint32(alg.minSDK)), math.MaxInt32)
	data := prefixed(alg.record(sum), prefixed(s.Certificate))
	data = append(data, sdks...)
	data = append(data, prefixed(nil)...) // no attributes
	sigs, err := s.sign(alg, data)
	if err != nil {
		return nil, err
	}
	signer := append(prefixed(data), sdks...)
	return prefixed(prefixed(append(signer, prefixed(sigs, spki)...))), nil
}
