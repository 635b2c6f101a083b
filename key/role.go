// Package key keeps the private keys that a vendor signs with: where each one
// lives (a file, an encrypted file, a helper command in front of an HSM), and
// which role it plays. Everything it loads is a [crypto.Signer].
package key

import (
	"fmt"
	"strings"

	"mios"
)

// An Algorithm is a kind of key and its size.
type Algorithm string

// The algorithms that keys are made for.
const (
	RSA2048 Algorithm = "rsa2048"
	RSA4096 Algorithm = "rsa4096"
	P256    Algorithm = "ecdsa-p256"
	Ed25519 Algorithm = "ed25519" // cannot be behind a helper: it signs messages, not digests
)

// A Role is what a key is trusted to sign.
type Role struct {
	Name      string
	Algorithm Algorithm // of a new key
	Count     int       // how many keys are made for it
	Threshold int       // how many of them must sign
	Offline   bool      // belongs on a machine without a network
	Use       string    // one line for a person
}

// The names of the roles.
const (
	AVB       = "avb"
	OTA       = "ota"
	App       = "app"
	ADB       = "adb"
	FDroid    = "fdroid"
	Root      = "root"
	Targets   = "targets"
	OS        = "os"
	Claims    = "claims"
	Apps      = "apps"
	Rollout   = "rollout"
	Snapshot  = "snapshot"
	Timestamp = "timestamp"
)

// Roles is the one list of roles. Those from root on are the repository's, as
// in docs/repository.md.
var Roles = []Role{
	{AVB, RSA4096, 1, 1, true, "verified boot: vbmeta of every image"},
	{OTA, RSA4096, 1, 1, true, "update payloads"},
	{App, RSA4096, 1, 1, true, "APKs of the vendor's own apps"},
	{ADB, RSA2048, 1, 1, false, "the desk's adb, for userdebug builds"},
	{FDroid, RSA4096, 1, 1, false, "indexes for F-Droid's clients"},
	{Root, P256, 3, 2, true, "repository: names all other roles' keys"},
	{Targets, P256, 3, 2, true, "repository: delegates to products and apps"},
	{OS, P256, 2, 2, true, "repository: OS releases"},
	{Claims, P256, 1, 1, true, "repository: which signer owns which package"},
	{Apps, P256, 1, 1, false, "repository: app releases under a claim"},
	{Rollout, P256, 1, 1, false, "repository: today's share of a release, halts"},
	{Snapshot, P256, 1, 1, false, "repository: which files belong together"},
	{Timestamp, P256, 1, 1, false, "repository: freshness"},
}

// FindRole returns the role of that name. The error wraps [mios.ErrNotFound].
func FindRole(name string) (Role, error) {
	for _, r := range Roles {
		if r.Name == name {
			return r, nil
		}
	}
	var names []string
	for _, r := range Roles {
		names = append(names, r.Name)
	}
	return Role{}, fmt.Errorf("key role %q: %w; there are %s", name, mios.ErrNotFound, strings.Join(names, ", "))
}

// KeyName is the file name, without its ending, of a role's key number i,
// counted from 0: "root", "root-2", "root-3".
func (r Role) KeyName(i int) string {
	if i == 0 {
		return r.Name
	}
	return fmt.Sprintf("%s-%d", r.Name, i+1)
}

// RoleOf returns the role of the key named name: a role's name, or one with a
// dash and more behind it, as "root-2" or "avb-watch". The error wraps
// [mios.ErrNotFound].
func RoleOf(name string) (Role, error) {
	for _, r := range Roles {
		rest, ok := strings.CutPrefix(name, r.Name)
		if ok && (rest == "" || rest[0] == '-' && len(rest) > 1 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789-") == "") {
			return r, nil
		}
	}
	_, err := FindRole(name)
	return Role{}, err
}
