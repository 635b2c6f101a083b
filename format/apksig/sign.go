package apksig

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"mios/format/apk"
)

// Sign writes the package in the first size bytes of r, signed, to w, in the
// bytes that AOSP's apksigner gives (tools/apksig, ApkSigner) where the
// algorithm is deterministic. Nothing of w is read back, and memory is bounded
// by the directory, the manifest of the JAR signature, and a chunk of 1 MiB a
// processor.
//
// Signatures that the package has are replaced. So are the entries that belong
// to them; folders and an old source stamp's entry are left out. Uncompressed entries
// are aligned: native libraries to pages, others to 4 bytes.
//
// With RSA up to 3072 bits, ECDSA up to 256 and DSA, v2 and v3 digest with
// SHA-256, above with SHA-512. JAR signatures (v1) digest with SHA-256, or with
// SHA-1 if the oldest platform is below 18 (RSA) or 21 (DSA).
//
// Entries are unpacked for v1 only: without it, one that is damaged inside is
// signed as it is.
//
// Errors in the package are [*apk.FormatError]. An error before the first byte
// is written says what to give instead.
func Sign(ctx context.Context, r io.ReaderAt, size int64, o SignOptions, w io.Writer) error {
	f, err := apk.Open(r, size)
	if err != nil {
		return err
	}
	info, err := f.Info()
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	plan, err := o.plan(cmp.Or(o.MinSDK, info.MinSDK))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	s, _, err := readSections(r, &f.Layout)
	if err != nil {
		return err
	}
	z := &zipSigner{ctx: ctx, o: &o, plan: plan, f: f, end: s.end, out: assembly{r: r}}
	if err := z.entries(); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	out, err := z.finish()
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if o.IDSig != nil {
		if err := SignV4(ctx, out, out.size, plan.v4(), o.IDSig); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, readerWithContext{ctx, io.NewSectionReader(out, 0, out.size)})
	return err
}

// finish returns the whole package: entries, signing block, directory, end
// record.
func (z *zipSigner) finish() (*assembly, error) {
	dir, end, err := z.directory()
	if err != nil {
		return nil, err
	}
	if z.out.size+maxBlock+int64(len(dir)) > math.MaxUint32 {
		return nil, fmt.Errorf("a package of %d bytes is too large: Android takes 4 GiB", z.out.size)
	}
	if len(z.plan.v2)+len(z.plan.v3) == 0 && z.plan.stamp == nil {
		return z.out.with(dir, end), nil
	}
	before := z.out.with(make([]byte, (page-z.out.size%page)%page))
	block, err := z.block(before, dir, end)
	if err != nil {
		return nil, err
	}
	total := before.size + int64(len(block)+len(dir)+len(end))
	if pad := (page - total%page) % page; z.o.PadFile && pad > 0 {
		end = append(end, make([]byte, pad)...)
		comment := len(end) - endRecord
		if comment > math.MaxUint16 {
			return nil, fmt.Errorf("no room in the end record's comment to pad the file with %d bytes: leave padding off", pad)
		}
		binary.LittleEndian.PutUint16(end[20:], uint16(comment))
		if block, err = z.block(before, dir, end); err != nil {
			return nil, err
		}
	}
	binary.LittleEndian.PutUint32(end[16:], uint32(before.size+int64(len(block))))
	return before.with(block, dir, end), nil
}

const endRecord = 22 // bytes without the comment

// block digests the package as it will be without the signing block, and
// returns that.
func (z *zipSigner) block(before *assembly, dir, end []byte) ([]byte, error) {
	binary.LittleEndian.PutUint32(end[16:], uint32(before.size))
	s := &sections{r: before.with(dir), end: before.size, dir: before.size, dirN: int64(len(dir)), eocd: end}
	sums, err := s.digests(z.ctx, z.plan.digestKinds())
	if err != nil {
		return nil, err
	}
	return z.plan.block(sums)
}
