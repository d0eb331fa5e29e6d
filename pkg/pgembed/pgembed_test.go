package pgembed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/db"
)

// TestMain lets tests run this binary as a server's parent, which they then kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PGEMBED_PARENT"); dir != "" {
		server, err := Start(context.Background(), Config{DataDir: dir})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(server.CentralDSN())
		select {}
	}
	os.Exit(m.Run())
}

// roomFor returns a directory that PostgreSQL's user can walk to, which t.TempDir is not.
func roomFor(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgembed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func startIn(t *testing.T, dir string) *Server {
	t.Helper()
	server, err := Start(t.Context(), Config{DataDir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	return server
}

// query runs one statement on a connection of its own.
func query(t *testing.T, dsn, sql string) (string, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.Background()) //nolint:errcheck // nothing is pending
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		return "", err
	}
	words, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(words, " "), err
}

func require(t *testing.T, dsn, sql, want string) {
	t.Helper()
	if got, err := query(t, dsn, sql); err != nil || got != want {
		t.Fatalf("%s: got %q, %v; want %q", sql, got, err, want)
	}
}

func TestAFirstStartMakesDatabaseRolesAndPrivateFiles(t *testing.T) {
	dir := filepath.Join(roomFor(t), "made", "by", "start")
	s := startIn(t, dir)
	require(t, s.CentralDSN(), "SELECT current_user || ' ' || current_database()", "central_server cloudoptim")
	require(t, s.MLDSN(), "SELECT current_user || ' ' || current_setting('default_transaction_read_only')", "ml_server_ro on")
	require(t, s.CentralDSN(), "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'cloudoptim'", "central_server")
	require(t, s.CentralDSN(), "SELECT rolsuper::text || rolbypassrls::text FROM pg_roles WHERE rolname = 'central_server'", "falsefalse")
	require(t, s.CentralDSN(), "SHOW data_checksums", "on")
	for _, name := range []string{"connections.json", MLConnectionFile, "postgres.log"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, MLConnectionFile)); err != nil || strings.TrimSpace(string(text)) != s.MLDSN() {
		t.Errorf("%s holds %q, %v", MLConnectionFile, text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb.password")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("initdb's password file was left behind: %v", err)
	}
}

func TestStrangersAreNotLetIn(t *testing.T) {
	s := startIn(t, roomFor(t))
	for _, dsn := range []string{
		strings.Replace(s.CentralDSN(), s.secrets.Central, "guess", 1),
		strings.Replace(s.AdminDSN("postgres"), s.secrets.Admin, "", 1),
	} {
		if _, err := query(t, dsn, "SELECT 'in'"); err == nil {
			t.Errorf("%s was let in", dsn)
		}
	}
	if _, err := query(t, s.MLDSN(), "CREATE TEMP TABLE t (id int)"); err == nil {
		t.Error("ml_server_ro made a table")
	}
}

func TestPostgresNeverRunsAsRoot(t *testing.T) {
	s := startIn(t, roomFor(t))
	pids := tenants(s.place.data())
	if len(pids) < 2 {
		t.Fatalf("found processes %v, want postmaster and helpers", pids)
	}
	for _, pid := range pids {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		if err != nil {
			continue // a helper that has ended
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid == 0 {
			t.Errorf("process %d runs as root", pid)
		}
	}
}

func TestARestartKeepsDataPasswordsAndPort(t *testing.T) {
	dir := roomFor(t)
	first := startIn(t, dir)
	if _, err := query(t, first.CentralDSN(), "CREATE TABLE kept AS SELECT 'yes' AS a"); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if pids := tenants(first.place.data()); len(pids) != 0 {
		t.Fatalf("processes %v outlived Stop", pids)
	}
	second := startIn(t, dir)
	if first.CentralDSN() != second.CentralDSN() {
		t.Errorf("the connection changed from %s to %s", first.CentralDSN(), second.CentralDSN())
	}
	require(t, second.CentralDSN(), "SELECT a FROM kept", "yes")
}

func TestATakenPortIsLeftToItsOwner(t *testing.T) {
	dir := roomFor(t)
	first := startIn(t, dir)
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	squatter, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", first.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close() //nolint:errcheck // nothing was written
	if _, err := Start(t.Context(), Config{DataDir: dir, Port: first.Port()}); err == nil || !strings.Contains(err.Error(), "could not bind") {
		t.Errorf("on a fixed port: %v", err)
	}
	second := startIn(t, dir)
	if second.Port() == first.Port() {
		t.Error("the port was not changed")
	}
	require(t, second.MLDSN(), "SELECT 'in'", "in")
}

func TestTwoServersCannotShareADirectory(t *testing.T) {
	dir := roomFor(t)
	s := startIn(t, dir)
	if _, err := Start(t.Context(), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the second start: %v", err)
	}
	require(t, s.CentralDSN(), "SELECT 'unharmed'", "unharmed")
}

func TestWatchReportsADeadPostmasterAndStopIsQuick(t *testing.T) {
	s := startIn(t, roomFor(t))
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(t.Context()) }()
	if err := s.child.process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Watch: %v", err)
	}
	if err := errors.Join(s.Stop(), s.Stop()); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}

// parent runs this binary as another process that owns a server, and returns its connection.
func parent(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "PGEMBED_PARENT="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error:") {
		t.Fatalf("the parent said %q, %v", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

func TestCommittedDataSurvivesTheParentsKill(t *testing.T) {
	dir := roomFor(t)
	for round := range 3 {
		cmd, dsn := parent(t, dir)
		if _, err := query(t, dsn, fmt.Sprintf("CREATE TABLE round%d (id int)", round)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	// At once, while the orphan may still be going down.
	require(t, startIn(t, dir).CentralDSN(), "SELECT count(*)::text FROM pg_tables WHERE tablename LIKE 'round%'", "3")
}

func TestPostgresDiesWithItsParent(t *testing.T) {
	dir := roomFor(t)
	cmd, _ := parent(t, dir)
	data := place{dir: dir}.data()
	if len(tenants(data)) == 0 {
		t.Fatal("no PostgreSQL process found")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(tenants(data)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %v outlived their parent", tenants(data))
		}
	}
}

func TestCommittedDataSurvivesTheKillOfParentAndPostmaster(t *testing.T) {
	dir := roomFor(t)
	cmd, dsn := parent(t, dir)
	if _, err := query(t, dsn, "CREATE TABLE kept AS SELECT 'yes' AS a"); err != nil {
		t.Fatal(err)
	}
	data := place{dir: dir}.data()
	for _, pid := range tenants(data) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // helpers may have followed the postmaster already
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "postmaster.pid")); err != nil {
		t.Fatalf("the kill left no stale lock file to test: %v", err)
	}
	require(t, startIn(t, dir).CentralDSN(), "SELECT a FROM kept", "yes")
}

func TestAnOrphanThatOutlivedItsParentIsStoppedFirst(t *testing.T) {
	dir := roomFor(t)
	s := startIn(t, dir)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	// A postmaster without the parent death signal, as after a kernel that did not send it.
	orphan := exec.CommandContext(t.Context(), filepath.Join(s.place.bin, "postgres"), postmasterArgs(s.place, s.port, Config{})...)
	orphan.Dir, orphan.Env = "/", cleanEnv()
	orphan.SysProcAttr = &syscall.SysProcAttr{Credential: s.place.credential()}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	for _, err := query(t, s.CentralDSN(), "SELECT 'up'"); err != nil; _, err = query(t, s.CentralDSN(), "SELECT 'up'") {
		time.Sleep(20 * time.Millisecond)
	}
	require(t, startIn(t, dir).CentralDSN(), "SELECT 'ours'", "ours")
	if err := <-ended; err != nil {
		t.Errorf("the orphan did not end in good order: %v", err)
	}
}

func TestAStalePIDOfAnUnrelatedProcessDoesNotBlock(t *testing.T) {
	dir := roomFor(t)
	s := startIn(t, dir)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	// Of the same user, as PostgreSQL pays no heed to processes that it may not signal.
	unrelated := exec.CommandContext(t.Context(), "sleep", "60")
	unrelated.SysProcAttr = &syscall.SysProcAttr{Credential: s.place.credential()}
	if err := unrelated.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unrelated.Process.Kill(); _ = unrelated.Wait() }()
	stale := fmt.Sprintf("%d\n%s\n1\n%d\n\n127.0.0.1\n\nready\n", unrelated.Process.Pid, s.place.data(), s.port)
	for _, name := range []string{"postmaster.pid", fmt.Sprintf(".s.PGSQL.%d.lock", s.port)} {
		path := filepath.Join(s.place.data(), name)
		if err := errors.Join(os.WriteFile(path, []byte(stale), 0o600), os.Chown(path, s.place.uid, s.place.gid)); err != nil {
			t.Fatal(err)
		}
	}
	startIn(t, dir)
}

func TestAHalfMadeClusterIsMadeAnew(t *testing.T) {
	dir := roomFor(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	require(t, startIn(t, dir).CentralDSN(), "SELECT 'in'", "in")
}

func TestDataOfAnotherVersionIsRefusedUntouched(t *testing.T) {
	dir := roomFor(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "made by PostgreSQL 12") {
		t.Errorf("got %v", err)
	}
}

func TestLostPasswordsAreNamedAndNotReplaced(t *testing.T) {
	dir := roomFor(t)
	if err := startIn(t, dir).Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "connections.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "connections.json") {
		t.Errorf("got %v", err)
	}
}

func TestMissingProgramsAreAClearError(t *testing.T) {
	t.Setenv("CLOUDOPTIM_PG_BIN", t.TempDir())
	if _, err := Start(t.Context(), Config{DataDir: roomFor(t)}); err == nil || !strings.Contains(err.Error(), "CLOUDOPTIM_PG_BIN") {
		t.Errorf("got %v", err)
	}
}

func TestACancelledStartLeavesNothingRunning(t *testing.T) {
	dir := roomFor(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if s, err := Start(ctx, Config{DataDir: dir}); err == nil {
		t.Fatal("it started within 30 ms", s.Stop())
	}
	startIn(t, dir) // the directory's lock is free again
}

func TestScriptIsSplitAndVariablesAreQuoted(t *testing.T) {
	got := parseScript("-- a comment;\nSELECT 'x'\nWHERE true \\gexec\n\nALTER ROLE a PASSWORD :'p';\n", map[string]string{"p": "it's"})
	want := []statement{{"SELECT 'x'\nWHERE true", true}, {"ALTER ROLE a PASSWORD 'it''s';", false}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, statement := range parseScript(db.Bootstrap, nil) {
		if strings.Count(statement.sql, ";") > 1 || strings.Contains(statement.sql, `\`) {
			t.Errorf("bootstrap.sql left its promised small language: %q", statement.sql)
		}
	}
}

func TestBootstrapWorksForAnAdministratorWithoutSuperuser(t *testing.T) {
	s := startIn(t, roomFor(t))
	for _, sql := range []string{
		"DROP DATABASE cloudoptim", "DROP ROLE ml_server_ro", "DROP ROLE central_server",
		"CREATE ROLE manager LOGIN CREATEROLE CREATEDB PASSWORD 'm'",
	} {
		if _, err := query(t, s.AdminDSN("postgres"), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for range 2 {
		if err := bootstrap(t.Context(), dsn("manager", "m", s.port, "postgres"), s.secrets); err != nil {
			t.Fatal(err)
		}
	}
	require(t, s.CentralDSN(), "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'cloudoptim'", "central_server")
	require(t, s.MLDSN(), "SELECT 'in'", "in")
}

func TestAGrownLogIsSetAside(t *testing.T) {
	p := place{dir: t.TempDir()}
	if err := os.WriteFile(p.log(), make([]byte, 17<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := p.openLog()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // nothing was written
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the new log has %v, %v", info, err)
	}
}
