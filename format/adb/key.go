package adb

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// TokenSize is the size in bytes of the token that a host signs.
const TokenSize = 20

const (
	keyBits    = 2048
	keyBytes   = keyBits / 8
	encodedKey = 4 + 4 + keyBytes + keyBytes + 4 // android_pubkey's RSAPublicKey
	maxComment = 1024
)

// A Key is a host's public key: a line of ~/.android/adbkey.pub or of adb_keys.
type Key struct {
	Public  *rsa.PublicKey // of 2048 bits, exponent 3 or 65537
	Comment string         // usually user@host
}

// Verify checks a host's answer to a token. The host signs the token with
// PKCS #1 v1.5 as if it were a SHA-1 digest.
func (k Key) Verify(token, signature []byte) error {
	if len(token) != TokenSize {
		return fmt.Errorf("adb: token of %d bytes, want %d", len(token), TokenSize)
	}
	return rsa.VerifyPKCS1v15(k.Public, crypto.SHA1, token, signature)
}

// Sign is the host's side of [Key.Verify].
func Sign(priv *rsa.PrivateKey, token []byte) ([]byte, error) {
	if len(token) != TokenSize {
		return nil, fmt.Errorf("adb: token of %d bytes, want %d", len(token), TokenSize)
	}
	return rsa.SignPKCS1v15(nil, priv, crypto.SHA1, token)
}

// Fingerprint returns the SHA-256 of the encoded key in hexadecimal, for logs.
func (k Key) Fingerprint() string {
	sum := sha256.Sum256(k.encode())
	return hex.EncodeToString(sum[:])
}

// String returns the line that ParseKey reads: base64, a space, the comment.
func (k Key) String() string {
	s := base64.StdEncoding.EncodeToString(k.encode())
	if k.Comment != "" {
		s += " " + k.Comment
	}
	return s
}

// encode returns AOSP's RSAPublicKey, which holds what Montgomery
// multiplication needs: -1/n mod 2^32 and (2^2048)^2 mod n.
func (k Key) encode() []byte {
	n0inv, rr := montgomery(k.Public.N)
	b := binary.LittleEndian.AppendUint32(nil, keyBytes/4)
	b = binary.LittleEndian.AppendUint32(b, n0inv)
	b = append(append(b, littleEndian(k.Public.N)...), littleEndian(rr)...)
	return binary.LittleEndian.AppendUint32(b, uint32(k.Public.E))
}

func montgomery(n *big.Int) (n0inv uint32, rr *big.Int) {
	word := new(big.Int).Lsh(big.NewInt(1), 32)
	inv := new(big.Int).ModInverse(new(big.Int).Mod(n, word), word)
	n0inv = uint32(-inv.Int64())
	rr = new(big.Int).Lsh(big.NewInt(1), 2*keyBits)
	return n0inv, rr.Mod(rr, n)
}

func littleEndian(x *big.Int) []byte {
	b := x.FillBytes(make([]byte, keyBytes))
	slices.Reverse(b)
	return b
}

func fromLittleEndian(b []byte) *big.Int {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// NewKey returns the key of a host's private key. It fails where AOSP's
// format has no place for it.
func NewKey(pub *rsa.PublicKey, comment string) (Key, error) {
	if pub.N.BitLen() != keyBits || pub.N.Bit(0) == 0 || (pub.E != 3 && pub.E != 65537) {
		return Key{}, fmt.Errorf("adb: key of %d bits with exponent %d: it takes %d bits and exponent 3 or 65537", pub.N.BitLen(), pub.E, keyBits)
	}
	if strings.ContainsAny(comment, "\r\n\x00") || len(comment) > maxComment {
		return Key{}, errors.New("adb: comment of a key: more than a line")
	}
	return Key{Public: pub, Comment: comment}, nil
}

// ParseKey reads a key and its comment: one line, or the payload of an
// AuthRSAPublicKey message, which ends with a NUL. It is stricter than AOSP,
// which ignores the redundant parts: here they must be right.
func ParseKey(line string) (Key, error) {
	line = strings.TrimRight(line, "\x00")
	text, comment, _ := strings.Cut(line, " ")
	if want := base64.StdEncoding.EncodedLen(encodedKey); len(text) != want {
		return Key{}, formatErr(0, "key of %d characters, want %d", len(text), want)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Key{}, formatErr(0, "key: %v", err)
	}
	u := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	if u(0) != keyBytes/4 {
		return Key{}, formatErr(0, "key of %d words, want %d", u(0), keyBytes/4)
	}
	e := u(8 + 2*keyBytes)
	if e != 3 && e != 65537 {
		return Key{}, formatErr(8+2*keyBytes, "exponent %d", e)
	}
	k, err := NewKey(&rsa.PublicKey{N: fromLittleEndian(b[8 : 8+keyBytes]), E: int(e)}, comment)
	if err != nil {
		return Key{}, formatErr(8, "%v", err)
	}
	if !bytes.Equal(k.encode(), b) {
		return Key{}, formatErr(4, "Montgomery values do not fit the modulus")
	}
	return k, nil
}

// ParseKeys reads an adb_keys file. Lines that hold no key do not spoil those
// that do: it returns all good keys, and an error that names every bad line.
func ParseKeys(file []byte) ([]Key, error) {
	var keys []Key
	var errs []error
	n := 0
	for line := range strings.Lines(string(file)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseKey(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		keys = append(keys, k)
	}
	return keys, errors.Join(errs...)
}
