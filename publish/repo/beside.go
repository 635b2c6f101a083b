package repo

import "context"

// Beside calls f with what is published while nothing else changes the
// repository: for files of the tree that no role signs, and that follow what is
// published. What it is given has no apps. f must not change the repository by
// its methods.
func (r *Repo) Beside(ctx context.Context, f func(s *Status) error) error {
	unlock, err := r.state.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := r.status(ctx, false)
	if err != nil {
		return err
	}
	return f(s)
}
