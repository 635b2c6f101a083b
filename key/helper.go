package key

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"mios"
)

// A Helper is a command that signs with a key that never leaves its place, an
// HSM's for example. It is called as avbtool calls its --signing_helper:
//
//	COMMAND... ALGORITHM PUBLIC_KEY_FILE
//
// For RSA, ALGORITHM is one of avbtool's names (SHA256_RSA4096), standard
// input is the whole padded block (PKCS #1 v1.5's, as long as the modulus) to
// be signed raw, and standard output the signature. For ECDSA, ALGORITHM is
// SHA256_ECDSA_P256, standard input is the digest, and standard output an
// ASN.1 signature. A status other than 0 is a refusal, with the reason on
// standard error. What comes back is verified with the public key.
type Helper struct {
	Command []string `json:"command"`
	// WithFiles has the command called as avbtool's
	// --signing_helper_with_files instead: a further argument names a file with
	// the block to be signed, in whose place the command writes the signature.
	WithFiles bool `json:"with_files,omitempty"`
}

// Signer returns the signer of a public key whose private key the helper has.
// The command is given publicKeyFile as it is.
func (h Helper) Signer(pub crypto.PublicKey, publicKeyFile string) (crypto.Signer, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	return &helperSigner{Helper: h, pub: pub, pubPath: publicKeyFile}, nil
}

func (h Helper) check() error {
	if len(h.Command) == 0 || h.Command[0] == "" {
		return fmt.Errorf("key helper: no command: %w", mios.ErrInvalid)
	}
	return nil
}

// helperSigner is the [crypto.Signer] of a [Helper].
type helperSigner struct {
	Helper
	pub     crypto.PublicKey
	pubPath string
}

func loadHelper(path string, b []byte) (crypto.Signer, error) {
	s := helperSigner{pubPath: strings.TrimSuffix(path, extHelper) + extPublic}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s.Helper); err != nil {
		return nil, fmt.Errorf("key %s: %v: %w", path, err, mios.ErrInvalid)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var err error
	if s.pubPath, err = filepath.Abs(s.pubPath); err != nil {
		return nil, err
	}
	if s.pub, err = LoadPublic(s.pubPath); err != nil {
		return nil, fmt.Errorf("key %s: its public key must stand beside it: %w", path, err)
	}
	return &s, nil
}

// Public implements [crypto.Signer].
func (s *helperSigner) Public() crypto.PublicKey { return s.pub }

// Sign implements [crypto.Signer] with the helper's answer.
func (s *helperSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	hash := opts.HashFunc()
	if _, pss := opts.(*rsa.PSSOptions); pss || (hash != crypto.SHA256 && hash != crypto.SHA512) || len(digest) != hash.Size() {
		return nil, fmt.Errorf("key helper %s: signs PKCS #1 v1.5 and ECDSA over SHA-256 or SHA-512 digests only: %w", s.Command[0], mios.ErrInvalid)
	}
	switch pub := s.pub.(type) {
	case *rsa.PublicKey:
		sig, err := s.run(fmt.Sprintf("SHA%d_RSA%d", 8*hash.Size(), pub.N.BitLen()), padPKCS1(hash, digest, pub.Size()))
		if err == nil && rsa.VerifyPKCS1v15(pub, hash, digest, sig) != nil {
			return nil, s.mismatch()
		}
		return sig, err
	case *ecdsa.PublicKey:
		name := strings.ReplaceAll(pub.Params().Name, "-", "")
		sig, err := s.run(fmt.Sprintf("SHA%d_ECDSA_%s", 8*hash.Size(), name), digest)
		if err == nil && !ecdsa.VerifyASN1(pub, digest, sig) {
			return nil, s.mismatch()
		}
		return sig, err
	}
	return nil, fmt.Errorf("key helper %s: cannot sign with a %s key: %w", s.Command[0], AlgorithmOf(s.pub), mios.ErrInvalid)
}

func (s *helperSigner) mismatch() error {
	return fmt.Errorf("key helper %s: its signature does not fit %s: it signs with another key", s.Command[0], s.pubPath)
}

func (s *helperSigner) run(algorithm string, in []byte) ([]byte, error) {
	args := append(append([]string{}, s.Command[1:]...), algorithm, s.pubPath)
	if s.WithFiles {
		return s.runWithFile(args, in)
	}
	cmd := exec.Command(s.Command[0], args...)
	cmd.Stdin = bytes.NewReader(in)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err := s.wait(cmd)
	return stdout.Bytes(), err
}

// runWithFile has the command replace what is in a file.
func (s *helperSigner) runWithFile(args []string, in []byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "mios-sign-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "block")
	if err := os.WriteFile(file, in, 0o600); err != nil {
		return nil, err
	}
	if err := s.wait(exec.Command(s.Command[0], append(args, file)...)); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// wait runs the command; its error says what the command said.
func (s *helperSigner) wait(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("key helper %s: %w: install it, or correct the command beside %s", s.Command[0], err, s.pubPath)
		}
		return fmt.Errorf("key helper %s: %w: %s", s.Command[0], err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// digestInfo are the DER prefixes of RFC 8017, section 9.2, note 1.
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// padPKCS1 is EMSA-PKCS1-v1_5 (RFC 8017, section 9.2) of a digest.
func padPKCS1(hash crypto.Hash, digest []byte, size int) []byte {
	t := append(append([]byte{}, digestInfo[hash]...), digest...)
	em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(t))...)
	return append(append(em, 0), t...)
}
