package pgembed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// initialise makes the cluster if there is none. It works in a directory beside and renames at the
// end, so a crash half way leaves nothing that looks like a cluster.
func (p place) initialise(ctx context.Context, bin binaries, password string, noSync bool) error {
	major, err := p.major()
	if err != nil || major != 0 {
		return err
	}
	staging, pwfile := p.data()+".new", filepath.Join(p.dir, "initdb.password")
	defer os.Remove(pwfile)
	for _, left := range []string{staging, pwfile} {
		if err := os.RemoveAll(left); err != nil {
			return fmt.Errorf("clearing a half made cluster: %w", err)
		}
	}
	if err := p.handOver(staging, pwfile, password); err != nil {
		return err
	}
	if err := p.initdb(ctx, bin, staging, pwfile, noSync); err != nil {
		return err
	}
	// Whatever is called data but has no PG_VERSION was not made by us: the rename refuses it
	// unless it is empty.
	if err := os.Rename(staging, p.data()); err != nil {
		return fmt.Errorf("putting the new cluster in place: %w", err)
	}
	return nil
}

// handOver makes what initdb needs and gives it to PostgreSQL's user.
func (p place) handOver(staging, pwfile, password string) error {
	if err := os.Mkdir(staging, 0o700); err != nil {
		return fmt.Errorf("making the cluster's directory: %w", err)
	}
	if err := os.WriteFile(pwfile, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the password for initdb: %w", err)
	}
	if !p.dropped() {
		return nil
	}
	for _, path := range []string{staging, pwfile} {
		if err := os.Chown(path, p.uid, p.gid); err != nil {
			return fmt.Errorf("giving %s to user %d: %w", path, p.uid, err)
		}
	}
	return nil
}

func (p place) initdb(ctx context.Context, bin binaries, staging, pwfile string, noSync bool) error {
	args := []string{
		"--pgdata=" + staging, "--username=" + adminRole, "--pwfile=" + pwfile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-instructions", "--data-checksums",
	}
	if noSync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, "initdb"), args...)
	cmd.Env = cleanEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential()}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running initdb: %w: %s", err, out)
	}
	return nil
}
