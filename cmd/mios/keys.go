package main

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"golang.org/x/term"

	"mios/key"
)

var keysInit = command{"keys init", "[--dev] [--roles ROLE,...] DIR", "make signing keys, encrypted with a passphrase",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		dev := fs.Bool("dev", false, "development keys: not encrypted, for a desk only")
		var roles []string
		namesVar(fs, &roles, "roles", "make keys of these `roles` only, with commas between")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		o := key.InitOptions{Development: *dev, Roles: roles, Made: func(name string, alg key.Algorithm) {
			fmt.Fprintf(e.stdout, "made %s (%s)\n", name, alg)
		}}
		if !*dev {
			var err error
			if o.Passphrase, err = newPassphrase(e); err != nil {
				return err
			}
		}
		if err := key.Init(fs.Arg(0), o); err != nil {
			return err
		}
		if *dev {
			fmt.Fprintf(e.stdout, "%s holds DEVELOPMENT KEYS: never ship a device that trusts them\n", fs.Arg(0))
		}
		return nil
	}}

var keysList = command{"keys list", "[--json] DIR", "print a folder's keys",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		set, err := key.Open(fs.Arg(0), nil)
		if err != nil {
			return err
		}
		list, err := set.List()
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(e, list)
		}
		if set.IsDevelopment() {
			fmt.Fprintf(e.stdout, "DEVELOPMENT KEYS: never ship a device that trusts them\n\n")
		}
		w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tALGORITHM\tKIND\tLIVES\tSHA-256\tSIGNS")
		for _, k := range list {
			lives := "online"
			if k.Offline {
				lives = "offline"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.16s\t%s\n", k.Name, k.Algorithm, k.Kind, lives, k.Fingerprint, k.Use)
		}
		return w.Flush()
	}}

var keysHelper = command{"keys helper", "DIR NAME PUBLIC.pem COMMAND [ARGUMENT]...", "sign with a command, as an HSM needs it\n" +
	"The command is called like avbtool's --signing_helper, with the names of the\n" +
	"algorithm and of the public key's file; NAME is a role, or a role and a number: root-2.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		if err := parseWords(fs, args, 4, 1<<10); err != nil {
			return err
		}
		if err := os.MkdirAll(fs.Arg(0), 0o700); err != nil {
			return err
		}
		set, err := key.Open(fs.Arg(0), nil)
		if err != nil {
			return err
		}
		pub, err := key.LoadPublic(fs.Arg(2))
		if err != nil {
			return err
		}
		return set.AddHelper(fs.Arg(1), pub, key.Helper{Command: fs.Args()[3:]})
	}}

// newPassphrase is the environment's passphrase, or one that a person types
// twice.
func newPassphrase(e env) (string, error) {
	if p := os.Getenv(key.PassphraseEnv); p != "" {
		return p, nil
	}
	f, ok := e.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", fmt.Errorf("no passphrase for the keys: set %s, or run it in a terminal, or make development keys with --dev", key.PassphraseEnv)
	}
	var typed [2]string
	for i, prompt := range []string{"passphrase for the new keys: ", "the same again: "} {
		fmt.Fprint(e.stderr, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(e.stderr)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	switch {
	case typed[0] != typed[1]:
		return "", fmt.Errorf("the two passphrases differ: try again")
	case len(typed[0]) < 8:
		return "", fmt.Errorf("the passphrase has %d bytes: take at least 8", len(typed[0]))
	}
	return typed[0], nil
}

// passphrase is the [key.Passphrase] of the commands: the environment's, or
// what a person types, once for all keys.
func passphrase(e env) key.Passphrase {
	var typed string
	return func(name string) (string, error) {
		f, ok := e.stdin.(*os.File)
		if os.Getenv(key.PassphraseEnv) != "" || !ok || !term.IsTerminal(int(f.Fd())) {
			return key.FromEnv(name)
		}
		if typed == "" {
			fmt.Fprintf(e.stderr, "passphrase for %s: ", name)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(e.stderr)
			if err != nil {
				return "", err
			}
			typed = string(b)
		}
		return typed, nil
	}
}

// openKeys opens a folder of keys for a command, and says loudly what kind
// they are.
func openKeys(e env, dir string) (*key.Set, error) {
	set, err := key.Open(dir, passphrase(e))
	if err != nil {
		return nil, err
	}
	if set.IsDevelopment() {
		fmt.Fprintf(e.stderr, "mios: %s holds DEVELOPMENT KEYS: never ship a device that trusts them\n", dir)
	}
	return set, nil
}

// signer returns the key in file, or else that of a role in the folder dir.
func signer(e env, dir, file, role string) (crypto.Signer, error) {
	if file != "" {
		return key.Load(file, passphrase(e))
	}
	set, err := openKeys(e, dir)
	if err != nil {
		return nil, err
	}
	return set.Signer(role)
}

// printJSON prints what --json asked for.
func printJSON(e env, v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
