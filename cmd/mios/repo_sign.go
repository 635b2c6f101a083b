package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"mios"
	"mios/internal/atomicfile"
	"mios/publish/ota"
	"mios/publish/repo"
)

var repoExport = command{"repo export", "[-o FILE] DIR", "write what waits for signatures into a file\n" +
	"The file goes to where the keys are; mios repo sign signs it there.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		out := fs.String("o", "bundle.json", "`file` to write")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		r, err := repo.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		b, err := r.Export(ctx)
		if err != nil {
			return err
		}
		if err := describeBundle(e, b); err != nil {
			return err
		}
		return writeBundle(*out, b)
	}}

var repoSign = command{"repo sign", "[--keys DIR] BUNDLE", "sign what mios repo export wrote\n" +
	"Signs in place, and prints what it is that gets signed.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		dir := fs.String("keys", "keys", "`folder` of keys")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		b, err := readBundle(fs.Arg(0))
		if err != nil {
			return err
		}
		keys, err := openKeys(e, *dir)
		if err != nil {
			return err
		}
		n, err := b.Sign(keys)
		if err != nil {
			return err
		}
		if err := describeBundle(e, b); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: none of the keys in %s is asked to sign, or all have signed: %w", fs.Arg(0), *dir, mios.ErrNotFound)
		}
		fmt.Fprintf(e.stdout, "signed %d\n", n)
		return writeBundle(fs.Arg(0), b)
	}}

var repoImport = command{"repo import", "[flags] DIR BUNDLE", "publish what was signed elsewhere\n" +
	"Takes the signatures of a bundle, and publishes what has enough of them.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		if err := parse(f.FlagSet, args, 2, 2); err != nil {
			return err
		}
		b, err := readBundle(f.Arg(1))
		if err != nil {
			return err
		}
		r, _, err := f.open(e, f.Arg(0))
		if err != nil {
			return err
		}
		res, err := r.Import(ctx, b)
		if err != nil {
			return err
		}
		if _, err := ota.UpdateViews(ctx, r); err != nil {
			return err
		}
		return f.print(e, res, "published "+strings.Join(res.Roles, ", "))
	}}

func readBundle(path string) (*repo.Bundle, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return repo.ReadBundle(b)
}

func writeBundle(path string, b *repo.Bundle) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, append(text, '\n'), 0o644)
}

func describeBundle(e env, b *repo.Bundle) error {
	for _, req := range b.Requests {
		lines, err := req.Describe()
		if err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, strings.Join(lines, "\n"))
	}
	return nil
}
