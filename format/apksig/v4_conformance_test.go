package apksig_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mios/format/apksig"
	"mios/internal/conformance"
)

// TestV4Observed verifies the package of the set that has an .idsig file, as
// AOSP's verifier was seen to do, and makes the file once more.
func TestV4Observed(t *testing.T) {
	const want = 1
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig v4, observed")
	n := 0
	for _, row := range tsv(t, dir, "observed.tsv") {
		if row[0] != "v4" {
			continue
		}
		n++
		path := filepath.Join(dir, "apks", row[1])
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		idsig, err := os.ReadFile(path + ".idsig")
		if err != nil {
			t.Fatal(err)
		}
		signers := []apksig.Signer{loadSigner(t, filepath.Join(dir, "apks", "rsa-2048")), loadSigner(t, filepath.Join(dir, "apks", "rsa-2048_2"))}
		if !bytes.Equal(signV4(t, b, signers...), idsig) {
			t.Errorf("SignV4 %s: other bytes than AOSP's", row[1])
		}
		for i, file := range [][]byte{idsig, idsig[:len(idsig)-1]} { // as it is, and cut short
			res, err := verify(t, b, apksig.Options{IDSig: bytes.NewReader(file)})
			ok := err == nil && res.Verified() == (i == 0) && res.VerifiedBy(apksig.V4) == (i == 0) && res.VerifiedBy(apksig.V31)
			if !ok {
				t.Errorf("Verify %s with %d of %d bytes of its .idsig file = %+v, %v; want %q", row[1], len(file), len(idsig), res, err, row)
			}
			if i == 0 {
				tally.Case(ok)
			}
		}
	}
	if n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}
