package main

import (
	"context"
	"fmt"
	"path/filepath"

	"mios/publish/app/setup"
)

var storeInit = command{"store init", "[flags]", "make a store for apps, and its repository\n" +
	"It needs the keys of all roles but os once: mios keys init. With --records and --blobs elsewhere than in\n" +
	"its folder several machines may work on one store; --tree is then to be elsewhere too.",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		c := setup.Defaults
		keysDir := f.String("keys", "keys", "`folder` of keys")
		f.StringVar(&c.Records, "records", c.Records, "`URL` of the database: sqlite:FILE or postgres://USER@HOST/NAME")
		f.StringVar(&c.Blobs, "blobs", c.Blobs, "`URL` of the files: a folder or s3://HOST/BUCKET/PREFIX")
		f.StringVar(&c.Repository, "repo", c.Repository, "`folder` of the repository, in the store's; one that is there is taken")
		f.StringVar(&c.Tree, "tree", "", "`URL` of the repository's public files (default: public/ in its folder)")
		f.StringVar(&c.Name, "name", c.Name, "`name` of the store, for people")
		f.StringVar(&c.Address, "address", "", "`URL` where devices will find the public files; F-Droid's indexes need it")
		f.BoolVar(&c.Policy.ProveDomain, "prove-domain", false, "want proof of the domain in a package's name")
		f.BoolVar(&c.Policy.OtherReviewer, "other-reviewer", false, "let nobody approve what they submitted")
		bits := f.Int("app-bits", 7, "spread apps over 2^`N` files: 4 for some hundreds, 7 for some thousands")
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		keys, err := openKeys(e, *keysDir)
		if err != nil {
			return err
		}
		if c.Keys, err = relative(f.dir, *keysDir); err != nil {
			return err
		}
		if err := setup.Init(ctx, f.dir, keys, setup.InitOptions{Config: c, AppBits: *bits}); err != nil {
			return err
		}
		if f.json {
			return printJSON(e, map[string]string{"store": f.dir, "configuration": filepath.Join(f.dir, setup.File)})
		}
		fmt.Fprintf(e.stdout, "made the store %s; %s says where it keeps what\nnext: mios store submit FILE.apk\n", f.dir, filepath.Join(f.dir, setup.File))
		return nil
	}}

// relative is how a folder is found from another one.
func relative(from, to string) (string, error) {
	a, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	b, err := filepath.Abs(to)
	if err != nil {
		return "", err
	}
	return filepath.Rel(a, b)
}
