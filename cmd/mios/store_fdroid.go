package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"mios"
	"mios/key"
	"mios/publish/app/fdroid"
	"mios/publish/app/setup"
)

var storeFDroid = command{"store fdroid", "[flags]", "print what people give F-Droid's clients to follow the store\n" +
	"That is the repository's address with the SHA-256 of its certificate, as docs/fdroid.md tells. If there are no\n" +
	"indexes yet, as after the key was made or address was set, it writes them.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		s, err := f.open(ctx, e)
		if err != nil {
			return err
		}
		defer s.Close()
		if s.FDroid == nil {
			var todo []string
			if s.Config.Address == "" {
				todo = append(todo, "set address in "+filepath.Join(f.dir, setup.File))
			}
			if names, err := s.Keys.Names(key.FDroid); err != nil || len(names) == 0 || len(todo) == 0 { // or only its public half is here
				todo = append(todo, "make the key with mios keys init --roles fdroid "+s.Keys.Dir())
			}
			return fmt.Errorf("%s: it has no F-Droid repository: %w: %s", f.dir, mios.ErrNotFound, strings.Join(todo, ", and "))
		}
		address, err := fdroid.Address(s.FDroid)
		if err != nil {
			return err
		}
		if _, err := s.Compile(ctx); err != nil {
			return err
		}
		if f.json {
			return printJSON(e, map[string]string{"address": address})
		}
		fmt.Fprintln(e.stdout, address)
		return nil
	}}
