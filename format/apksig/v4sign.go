package apksig

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"mios/format/apk"
)

// maxKeptTree is how large the lowest level of a hash tree may be to be kept in
// memory, in bytes: that of a package of 1 GiB. A larger one is built twice.
const maxKeptTree = 8 << 20

// SignV4 writes the v4 signature of the package in the first size bytes of r to
// w: the content of its .idsig file, hash tree included. The package is signed
// with v2 or v3 already, whose digest v4 signs once more. The bytes are the same
// each time if the keys' signatures are.
//
// signers is one: who signed with v3, or else v2; and, if the package has a
// v3.1 signature, behind it who signed that.
func SignV4(ctx context.Context, r io.ReaderAt, size int64, signers []Signer, w io.Writer) error {
	layout, err := apk.FindLayout(r, size)
	if err != nil {
		return err
	}
	s, why, err := readSections(r, layout)
	if err != nil {
		return err
	}
	if s.block == nil {
		return fmt.Errorf("sign v4: %s: sign the package with v2 or v3 first", why)
	}
	sig, err := s.v4Signers(signers)
	if err != nil {
		return fmt.Errorf("sign v4: %w", err)
	}
	t := newKeptTree(size, maxKeptTree)
	if sig.Root, err = t.build(ctx, r, size); err != nil {
		return fmt.Errorf("sign v4: %w", err)
	}
	for i := range sig.Signers {
		if err := sig.sign(&sig.Signers[i], signers[i], size); err != nil {
			return fmt.Errorf("sign v4: %w", err)
		}
	}
	if n := len(sig.signingInfos()); n > sizeIDSigSigning {
		return fmt.Errorf("sign v4: signatures and certificates of %d bytes, and a kernel takes at most %d: take smaller keys", n, sizeIDSigSigning)
	}
	if _, err := w.Write(sig.Bytes()); err != nil {
		return err
	}
	return t.write(ctx, r, size, sig.Root, w)
}

// v4Signers returns the signers of an .idsig file, not signed yet.
func (s *sections) v4Signers(signers []Signer) (*IDSig, error) {
	sig := new(IDSig)
	schemes := []struct {
		scheme Scheme
		id     uint32
	}{{V3, blockV3}, {V31, blockV31}}
	if _, ok := s.pair(blockV3); !ok {
		schemes[0].scheme, schemes[0].id = V2, blockV2
	}
	if _, ok := s.pair(blockV31); !ok {
		schemes = schemes[:1]
	}
	if len(signers) != len(schemes) {
		return nil, fmt.Errorf("%d signers, but the package is signed with %d schemes that need one each", len(signers), len(schemes))
	}
	for i, scheme := range schemes {
		digest, cert, err := s.v4Of(scheme.scheme, scheme.id)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", scheme.scheme, err)
		}
		if !bytes.Equal(cert, signers[i].Certificate) {
			return nil, fmt.Errorf("%v: somebody else signed the package with it", scheme.scheme)
		}
		signer := IDSigSigner{Digest: digest, Certificate: cert}
		if i > 0 {
			signer.Block = scheme.id
		}
		sig.Signers = append(sig.Signers, signer)
	}
	return sig, nil
}

// v4Of returns the digest that the one signer of a scheme signed, and the
// signer's certificate. The signature is verified, the digest is not.
func (s *sections) v4Of(scheme Scheme, id uint32) (digest, cert []byte, err error) {
	block, _ := s.pair(id)
	v := &verifier{s: s, res: new(Result), most: math.MaxInt32, scheme: scheme, found: map[Scheme]bool{V3: true}}
	read := v.v3Signer
	if scheme == V2 {
		read, v.least = v.v2Signer, math.MaxInt32
	}
	signers, malformed := readSigners(block, 1, read)
	switch {
	case len(v.res.Errors) > 0:
		return nil, nil, &VerifyError{v.res.Errors}
	case malformed || len(signers) != 1:
		return nil, nil, fmt.Errorf("v4 goes with one signer, and there are %d", len(signers))
	}
	if digest = v4Digest(signedDigests(signers)); digest == nil {
		return nil, nil, errors.New("its digests are of unknown kinds")
	}
	return digest, signers[0].certs[0], nil
}

// sign signs a package of size bytes.
func (s *IDSig) sign(to *IDSigSigner, by Signer, size int64) error {
	alg, spki, err := by.algorithm()
	if err != nil {
		return err
	}
	to.PublicKey, to.Algorithm = spki, alg.id
	to.Signature, err = by.signature(alg, s.signed(to, size))
	return err
}

// A keptTree is a hash tree whose pages are kept; those of the lowest level
// only while it is small.
type keptTree struct {
	hashTree
	kept  [][]byte // levels, the lowest first; the lowest is nil if it is not kept
	sizes []int64
	all   bool // the lowest is kept
}

// newKeptTree returns a tree for n bytes whose lowest level is kept up to a size
// of most bytes.
func newKeptTree(n, most int64) *keptTree {
	t := &keptTree{sizes: treeLevels(n)}
	t.kept, t.all = make([][]byte, len(t.sizes)), t.sizes[0] <= most
	t.page = func(level int, b []byte) error {
		if level > 0 || t.all {
			t.kept[level] = append(t.kept[level], b...)
		}
		return nil
	}
	return t
}

// write writes the length of the tree over n bytes of r and the tree, the
// highest level first.
func (t *keptTree) write(ctx context.Context, r io.ReaderAt, n int64, root []byte, w io.Writer) error {
	var total int64
	for _, size := range t.sizes {
		total += size
	}
	if total > math.MaxInt32 {
		return fmt.Errorf("hash tree of %d bytes: the package is too large", total)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint32(nil, uint32(total))); err != nil {
		return err
	}
	for _, level := range slices.Backward(t.kept) {
		if _, err := w.Write(level); err != nil {
			return err
		}
	}
	if t.all {
		return nil
	}
	again := &hashTree{page: func(level int, b []byte) error {
		if level > 0 {
			return nil
		}
		_, err := w.Write(b)
		return err
	}}
	sum, err := again.build(ctx, r, n)
	if err == nil && !bytes.Equal(sum, root) {
		err = errors.New("the package has changed while it was read")
	}
	return err
}
