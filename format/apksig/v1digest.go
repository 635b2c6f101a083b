package apksig

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// verifyManifest reports whether the signature file has the digest of the
// manifest as a whole. If not, its sections count.
func (c *jarCheck) verifyManifest(s *jarSigner, head []jarAttribute, signtool bool) (bool, error) {
	suffix := "-Digest-Manifest"
	if signtool {
		suffix = "-Digest"
	}
	digests := statedDigests(head, suffix, c.v.least, c.v.most)
	if len(digests) == 0 {
		s.warn("JAR_SIG_NO_MANIFEST_DIGEST_IN_SIG_FILE", "%s", s.file.name)
		return false, nil
	}
	ok := true
	for _, d := range digests {
		sum, err := c.manifest.sum(d.hash)
		if err != nil {
			return false, err
		}
		if !d.is(sum) {
			s.warn("JAR_SIG_ZIP_ENTRY_DIGEST_DID_NOT_VERIFY", "%s", mismatch(manifestName, d, sum, s.file.name))
			ok = false
		}
	}
	return ok, nil
}

// verifyMain verifies the digest of the manifest's main section, if the
// signature file has one.
func (c *jarCheck) verifyMain(s *jarSigner, head []jarAttribute) {
	for _, d := range statedDigests(head, "-Digest-Manifest-Main-Attributes", c.v.least, c.v.most) {
		if sum := sumString(d.hash.New(), c.main.text); !d.is(sum) {
			s.fail("JAR_SIG_MANIFEST_MAIN_SECTION_DIGEST_DID_NOT_VERIFY", "%s", mismatch("the main section of "+manifestName, d, sum, s.file.name))
		}
	}
}

// verifySection verifies the digest of the manifest's section of an entry.
func (c *jarCheck) verifySection(s *jarSigner, name string, attrs []jarAttribute, signtool bool) error {
	i, ok := c.index(name)
	if !ok || c.listed[i] == 0 {
		s.fail("JAR_SIG_NO_ZIP_ENTRY_DIGEST_IN_SIG_FILE", "%q of %s is not in %s", name, s.file.name, manifestName)
		s.ignore()
		return nil
	}
	digests := statedDigests(attrs, "-Digest", c.v.least, c.v.most)
	if len(digests) == 0 {
		s.fail("JAR_SIG_NO_ZIP_ENTRY_DIGEST_IN_SIG_FILE", "%q in %s", name, s.file.name)
		return nil
	}
	text, err := c.sectionText(i)
	if err != nil {
		return err
	}
	if signtool && strings.HasSuffix(text, "\n\n") {
		text = text[:len(text)-1]
	}
	for _, d := range digests {
		if sum := sumString(d.hash.New(), text); !d.is(sum) {
			s.fail("JAR_SIG_MANIFEST_SECTION_DIGEST_DID_NOT_VERIFY", "%s", mismatch("the section of "+name+" in "+manifestName, d, sum, s.file.name))
		}
	}
	return nil
}

func mismatch(what string, d namedDigest, sum []byte, where string) string {
	return what + ": its " + d.hash.String() + " is " + base64.StdEncoding.EncodeToString(sum) + ", but " + where + " says " + d.text
}

// entries verifies that each entry outside META-INF is as the manifest says,
// and that the same signers signed all of them. Those are the package's.
func (c *jarCheck) entries(ctx context.Context) error {
	order, signers := c.checkEntries()
	if err := c.digestEntries(ctx, order); err != nil {
		return err
	}
	if signers == 0 {
		c.v.fail("JAR_SIG_NO_SIGNED_ZIP_ENTRIES", "no entry outside META-INF")
	}
	if len(c.v.res.Errors) > 0 {
		return nil
	}
	own := map[string]bool{manifestName: true}
	for _, s := range c.signer {
		if signers&s.bit == 0 {
			c.v.res.report(nil, s.warnings)
			continue
		}
		own[s.block.name], own[s.file.name] = true, true
		c.v.res.report(nil, s.warnings)
		c.v.res.Signatures = append(c.v.res.Signatures, Signature{
			Scheme: V1, Name: s.block.name, MinSDK: c.v.least, MaxSDK: c.v.most, Certificates: s.certs,
		})
	}
	for i := range int32(len(c.x.j.records)) {
		if name := c.x.j.name(i); strings.HasPrefix(name, metaInf) && !own[name] {
			c.v.warn("JAR_SIG_UNPROTECTED_ZIP_ENTRY", "%s: no JAR signature covers what is in META-INF", name)
		}
	}
	return nil
}

// checkEntries returns the entries whose digest is to be verified, in the order
// of the file, and the signers of the first.
func (c *jarCheck) checkEntries() (order []int32, signers uint16) {
	j := c.x.j
	for i := range int32(len(j.records)) {
		if !strings.HasPrefix(j.name(i), metaInf) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(j.records[a].off, j.records[b].off) })
	var kept uint16
	for _, s := range c.signer {
		kept |= s.bit
	}
	first := ""
	order = slices.DeleteFunc(order, func(i int32) bool {
		name, by := j.name(i), c.signed[i]&kept
		switch {
		case c.listed[i] == 0:
			c.v.fail("JAR_SIG_NO_ZIP_ENTRY_DIGEST_IN_MANIFEST", "%s", name)
			return true
		case by == 0:
			c.v.fail("JAR_SIG_ZIP_ENTRY_NOT_SIGNED", "%s", name)
			return true
		case signers == 0:
			signers, first = by, name
		case by != signers:
			c.v.fail("JAR_SIG_ZIP_ENTRY_SIGNERS_MISMATCH", "%s has %d signers, and %s others: %d", first, bits.OnesCount16(signers), name, bits.OnesCount16(by))
			return true
		}
		if c.listed[i]&hasDigest == 0 {
			c.v.fail("JAR_SIG_NO_ZIP_ENTRY_DIGEST_IN_MANIFEST", "%s", name)
			return true
		}
		return false
	})
	return order, signers
}

// digestEntries verifies the digests of those entries, on all processors, in the
// order of the manifest.
func (c *jarCheck) digestEntries(ctx context.Context, order []int32) error {
	wanted := make([]bool, len(c.listed))
	for _, i := range order {
		wanted[i] = true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan digestWork, 64)
	d := &entryDigester{c: c, work: work, failed: make(map[int32][]Issue)}
	errs := make([]error, 1+runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range errs[1:] {
		wg.Go(func() {
			if errs[w+1] = d.run(ctx); errs[w+1] != nil {
				cancel() // the others need not go on
			}
		})
	}
	errs[0] = d.hand(ctx, wanted, work)
	close(work)
	wg.Wait()
	for _, i := range order {
		c.v.res.report(d.failed[i], nil)
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil && !errors.Is(err, context.Canceled) }); i >= 0 {
		return errs[i]
	}
	return errors.Join(errs...)
}

// digestWork is an entry and what it must digest to.
type digestWork struct {
	entry   int32
	digests []namedDigest
}

// An entryDigester verifies entries by what the manifest says of them.
type entryDigester struct {
	c      *jarCheck
	work   <-chan digestWork
	mu     sync.Mutex
	failed map[int32][]Issue // guarded by mu
}

// hand reads the manifest and hands out the entries that are wanted.
func (d *entryDigester) hand(ctx context.Context, wanted []bool, work chan<- digestWork) error {
	var attrs []jarAttribute
	return d.c.manifest.each(func(n int, s section) error {
		if n == 0 {
			return nil
		}
		attrs = s.attributes(attrs[:0])
		name, _ := entryName(attrs)
		i, ok := d.c.index(name)
		if !ok || !wanted[i] {
			return nil
		}
		select {
		case work <- digestWork{i, statedDigests(attrs, "-Digest", d.c.v.least, d.c.v.most)}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// run verifies entries until there are no more.
func (d *entryDigester) run(ctx context.Context) error {
	x := &extractor{j: d.c.x.j}
	for w := range d.work {
		if err := ctx.Err(); err != nil {
			return err
		}
		issues, err := verifyEntry(x, w)
		if err != nil {
			return err
		}
		if len(issues) > 0 {
			d.mu.Lock()
			if len(d.failed) < maxIssues {
				d.failed[w.entry] = issues
			}
			d.mu.Unlock()
		}
	}
	return nil
}

func verifyEntry(x *extractor, w digestWork) ([]Issue, error) {
	e := x.j.entry(w.entry)
	hashes, writers := make([]hash.Hash, len(w.digests)), make([]io.Writer, len(w.digests))
	for n, stated := range w.digests {
		hashes[n] = stated.hash.New()
		writers[n] = hashes[n]
	}
	if err := x.copy(io.MultiWriter(writers...), e); err != nil {
		return nil, err
	}
	var issues []Issue
	for n, stated := range w.digests {
		if sum := hashes[n].Sum(nil); !stated.is(sum) {
			issues = append(issues, newIssue(V1, "", "JAR_SIG_ZIP_ENTRY_DIGEST_DID_NOT_VERIFY", "%s", mismatch(e.name, stated, sum, manifestName)))
		}
	}
	return issues, nil
}
