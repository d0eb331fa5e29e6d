package pgembed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The other tests run as whoever runs them. This one runs the most telling of them once more as
// the other kind of user: as nobody when we are root. Nobody can't become root, so there it checks
// that PostgreSQL runs as the same user.
func TestItWorksAsAnUnprivilegedUserToo(t *testing.T) {
	if os.Geteuid() != 0 {
		s := startIn(t, roomFor(t))
		info, err := os.Stat(s.place.data())
		if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			t.Fatalf("the data belongs to %v, %v", info, err)
		}
		return
	}
	room := roomFor(t)
	self, temp := filepath.Join(room, "test"), filepath.Join(room, "tmp")
	if err := copyFile(os.Args[0], self); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(temp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	dir, err := findBinaries()
	if err != nil {
		t.Fatal(err)
	}
	if err := linkTree(filepath.Dir(dir), filepath.Join(room, "postgres")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.v",
		"-test.run=^Test(AFirstStart|ARestart|Committed|PostgresDies|AnOrphan|ItWorks)")
	cmd.Dir = temp
	cmd.Env = []string{"TMPDIR=" + temp, "HOME=" + temp, "CLOUDOPTIM_PG_BIN=" + filepath.Join(room, "postgres", filepath.Base(dir))}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 6 {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func TestRootIsToldWhenPostgresCannotReachTheData(t *testing.T) {
	if os.Geteuid() != 0 {
		// Without dropping privileges a closed parent is no obstacle.
		startIn(t, filepath.Join(t.TempDir(), "data"))
		return
	}
	closed := filepath.Join(roomFor(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{DataDir: filepath.Join(closed, "pg")})
	if err == nil || !strings.Contains(err.Error(), closed+":") {
		t.Errorf("got %v, want an error naming %s", err, closed)
	}
}
