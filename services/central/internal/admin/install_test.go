package admin

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/cloudoptim/cloudoptim/deploy/aws"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const deploy = "../../../../deploy/"

var (
	somewhere = Install{
		Address: "central.example.com:443", TLS: true, URL: "https://central.example.com", TemplateURL: "https://bucket.s3.amazonaws.com/customer.yaml?v=1&x=2",
		PrincipalARN: "arn:aws:iam::123456789012:role/central", Chart: "oci://registry.example.com/charts/cloudoptim-agent",
	}
	prod = store.Install{ClusterName: "prod_1", Region: "eu-west-1", ExternalID: "cloudoptim-1234"}
)

// chart is values.yaml of the agent's chart, and what its schema makes of other values.
func chart(t *testing.T) (values map[string]any, check func(map[string]any) error) {
	t.Helper()
	text, err := os.ReadFile(deploy + "helm/cloudoptim-agent/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile(deploy + "helm/cloudoptim-agent/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return values, func(all map[string]any) error {
		raw, err := json.Marshal(all)
		if err != nil {
			return err
		}
		plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		return schema.Validate(plain)
	}
}

// over puts values over others, as Helm does.
func over(base, on map[string]any) map[string]any {
	for name, value := range on {
		if inner, ok := value.(map[string]any); ok {
			if below, ok := base[name].(map[string]any); ok {
				base[name] = over(below, inner)
				continue
			}
		}
		base[name] = value
	}
	return base
}

func TestTheValuesAreThoseOfTheChart(t *testing.T) {
	base, check := chart(t)
	if err := check(base); err == nil {
		t.Fatal("the schema lets an empty cluster through: it checks nothing")
	}
	text, err := somewhere.helmValues(uuid.New())
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	if err := check(over(base, values)); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// run a script in a shell that has programs of these names on its path, which write down how they were
// called, and give "read" the key. It returns the calls, one a line, and what went into the programs.
func run(t *testing.T, shell, script, stdin string, env ...string) (calls []string, piped string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"kubectl", "helm", "aws"} {
		// Each argument in a line of its own; only a Secret's maker reads the key.
		fake := `#!/bin/bash
{ printf '%s' "` + name + `"; printf ' <%s>' "$@"; echo; } >>"$DIR/calls"
env >>"$DIR/env"
for a in "$@"; do
  case "$a" in
    --template-file) next=1;;
    --from-file=*) cat "${a#*=*=}" >"$DIR/secret"; echo "kind: Secret";;
    *) if [ "${next:-}" = 1 ]; then cat "$a" >"$DIR/template"; next=; fi;;
  esac
done
case "$1" in apply) cat >>"$DIR/applied";; esac
`
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "script")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), shell, path)
	cmd.Env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "DIR=" + dir, "TMPDIR=" + dir}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	if stdin != "" && strings.Contains(string(out), strings.TrimSpace(stdin)) {
		t.Errorf("the screen shows the key: %s", out)
	}
	for _, file := range []string{"calls", "env", "applied"} {
		text, _ := os.ReadFile(filepath.Join(dir, file))
		if stdin != "" && strings.Contains(string(text), strings.TrimSpace(stdin)) {
			t.Errorf("the key is in %s", file)
		}
		if file == "calls" {
			calls = strings.Split(strings.TrimSpace(string(text)), "\n")
		}
	}
	for _, file := range []string{"secret", "template"} {
		text, _ := os.ReadFile(filepath.Join(dir, file))
		piped += string(text)
	}
	return calls, piped
}

func syntax(t *testing.T, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
}

func TestTheHelmCommandInstallsAndShowsTheKeyToNobody(t *testing.T) {
	cluster := uuid.New()
	script := somewhere.helmCommand(cluster)
	syntax(t, script)
	syntax(t, helmUninstall())
	const key = "co_agent_abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE"
	calls, secret := run(t, "bash", script, key+"\n")
	if secret != key {
		t.Errorf("the Secret has %q", secret)
	}
	last := calls[len(calls)-1]
	if !strings.HasPrefix(last, "helm <upgrade> <--install> <cloudoptim-agent> <oci://registry.example.com/charts/cloudoptim-agent> <--namespace> <cloudoptim>") {
		t.Errorf("installs with %s", last)
	}
	if made := slices.IndexFunc(calls, func(call string) bool { return strings.Contains(call, "<secret>") }); made < 0 || made == len(calls)-1 ||
		!strings.Contains(calls[made], "<--from-file=api-key=/dev/stdin>") || !strings.Contains(calls[made], "<--namespace> <cloudoptim>") {
		t.Errorf("the Secret is not made before: %v", calls)
	}
	base, check := chart(t)
	for _, set := range regexp.MustCompile(`<--set(?:-string)?> <([^=]+)=([^>]*)>`).FindAllStringSubmatch(last, -1) {
		put(t, base, strings.Split(set[1], "."), set[2])
	}
	if err := check(base); err != nil {
		t.Errorf("the chart refuses it: %v", err)
	}
	text, err := somewhere.helmValues(cluster)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{cluster.String(), somewhere.Address, somewhere.URL, "cloudoptim-agent"} {
		if !strings.Contains(last, want) || !strings.Contains(text, want) {
			t.Errorf("%s is not in both", want)
		}
	}
}

// put sets a value that must be one of the chart's already.
func put(t *testing.T, in map[string]any, path []string, value string) {
	t.Helper()
	for _, name := range path[:len(path)-1] {
		in, _ = in[name].(map[string]any)
	}
	before, ok := in[path[len(path)-1]]
	if !ok {
		t.Fatalf("the chart has no %v", path)
	}
	in[path[len(path)-1]] = value
	if _, isBool := before.(bool); isBool {
		in[path[len(path)-1]] = value == "true"
	}
}

func TestAHelmCommandThatIsPastedReadsTheKeyAndNotItsNextLine(t *testing.T) {
	// As a terminal has it: the command and then what is typed come through the same line.
	dir := t.TempDir()
	for _, name := range []string{"kubectl", "helm"} {
		fake := "#!/bin/bash\nfor a in \"$@\"; do case \"$a\" in --from-file=*) cat >" + dir + "/secret;; esac; done\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(somewhere.helmCommand(uuid.New()) + "co_agent_typed\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if secret, _ := os.ReadFile(filepath.Join(dir, "secret")); string(secret) != "co_agent_typed" {
		t.Errorf("the Secret has %q", secret)
	}
}

func TestWhatPeopleCalledTheirClusterIsTextAndNoCommand(t *testing.T) {
	hostile := store.Install{ClusterName: `it's $(touch owned) "x" ; rm`, Region: "us-east-1", ExternalID: "e'$(touch owned)"}
	in := Install{Address: "a:1", URL: "http://x,y='z", Chart: "./my chart's"}
	syntax(t, in.helmCommand(uuid.New()))
	script := in.stackCommand(hostile)
	syntax(t, script)
	calls, _ := run(t, "sh", script, "", "NODE_ROLE_ARN=arn:aws:iam::123456789012:role/n", "CENTRAL_PRINCIPAL_ARN=arn:aws:iam::123456789012:role/c")
	if len(calls) != 1 || !strings.Contains(calls[0], "<ClusterName="+hostile.ClusterName+">") || !strings.Contains(calls[0], "<ExternalId="+hostile.ExternalID+">") {
		t.Errorf("%v", calls)
	}
	if strings.Contains(script, "touch owned)\"") || !regexp.MustCompile(`^cloudoptim-[A-Za-z0-9-]*[A-Za-z0-9]$`).MatchString(stackName(hostile)) {
		t.Errorf("%s", stackName(hostile))
	}
	calls, _ = run(t, "bash", in.helmCommand(uuid.New()), "co_agent_x\n")
	if last := calls[len(calls)-1]; !strings.Contains(last, `<./my chart's>`) || !strings.Contains(last, `<central.restUrl=http://x\,y='z>`) {
		t.Errorf("%s", last)
	}
	if name := stackName(store.Install{ClusterName: strings.Repeat("x", 300)}); len(name) > 128 {
		t.Errorf("a stack's name has %d characters", len(name))
	}
	if name := stackName(store.Install{ClusterName: "日本"}); name != "cloudoptim" {
		t.Errorf("a name of no letters makes %q", name)
	}
}

// parameters of the template: whether each has a default, and whether it is hidden.
func parameters(t *testing.T) map[string]map[string]any {
	t.Helper()
	var template struct{ Parameters map[string]map[string]any }
	if err := yaml.Unmarshal([]byte(aws.Customer), &template); err != nil {
		t.Fatal(err)
	}
	if len(template.Parameters) < 4 {
		t.Fatalf("the template has %v", template.Parameters)
	}
	return template.Parameters
}

func TestTheStacksParametersAreThoseOfTheTemplate(t *testing.T) {
	calls, template := run(t, "sh", somewhere.stackCommand(prod), "", "NODE_ROLE_ARN=arn:aws:iam::123456789012:role/nodes")
	if strings.TrimSpace(template) != strings.TrimSpace(aws.Customer) {
		t.Error("the command carries another template")
	}
	call := calls[0]
	for _, want := range []string{"<--region> <eu-west-1>", "<--stack-name> <cloudoptim-prod-1>", "<--capabilities> <CAPABILITY_NAMED_IAM>"} {
		if !strings.Contains(call, want) {
			t.Errorf("%s is not in %s", want, call)
		}
	}
	_, overrides, _ := strings.Cut(call, "<--parameter-overrides>")
	given := map[string]string{}
	for _, pair := range regexp.MustCompile(`<([A-Za-z]+)=([^>]*)>`).FindAllStringSubmatch(overrides, -1) {
		given[pair[1]] = pair[2]
	}
	link, err := url.Parse(somewhere.stackURL(prod))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(link.EscapedFragment(), "?")
	query, err := url.ParseQuery(rest)
	if err != nil {
		t.Fatal(err)
	}
	all := parameters(t)
	for name, parameter := range all {
		value, ok := given[name]
		if pattern, _ := parameter["AllowedPattern"].(string); !ok || pattern != "" && !regexp.MustCompile("^(?:"+pattern+")$").MatchString(value) {
			t.Errorf("%s is given as %q", name, value)
		}
		if query.Get("param_"+name) != "" && parameter["NoEcho"] == true {
			t.Errorf("the page ignores %s, which is hidden", name)
		}
	}
	for name := range given {
		if all[name] == nil {
			t.Errorf("the template has no %s", name)
		}
	}
	for name, value := range query {
		if parameter, ok := strings.CutPrefix(name, "param_"); ok && (all[parameter] == nil || value[0] != given[parameter]) {
			t.Errorf("%s is %q", name, value)
		}
	}
	if query.Get("templateURL") != somewhere.TemplateURL || query.Get("stackName") != "cloudoptim-prod-1" || query.Get("param_ExternalId") != "cloudoptim-1234" {
		t.Errorf("the link has %v", query)
	}
	if link.Host != "eu-west-1.console.aws.amazon.com" || link.Query().Get("region") != "eu-west-1" || !strings.HasPrefix(link.Fragment, "/stacks/quickcreate?") {
		t.Errorf("the link is %s", link)
	}
	without := somewhere
	without.TemplateURL = ""
	if got := without.stackURL(prod); got != "" {
		t.Errorf("a link without a template: %s", got)
	}
}

func TestTheStackIsNotMadeWithoutWhatOnlyPeopleKnow(t *testing.T) {
	in := somewhere
	in.PrincipalARN = ""
	for _, env := range []string{"X=y", "NODE_ROLE_ARN=r", "CENTRAL_PRINCIPAL_ARN=r"} {
		cmd := exec.CommandContext(t.Context(), "sh")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), env}
		cmd.Stdin = strings.NewReader(in.stackCommand(prod))
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "set it to the ARN") {
			t.Errorf("with %s: %v %s", env, err, out)
		}
	}
}

func TestConsolesOfOtherPartitionsAreElsewhere(t *testing.T) {
	for region, host := range map[string]string{
		"cn-north-1": "console.amazonaws.cn", "us-gov-west-1": "console.amazonaws-us-gov.com", "us-east-1": "us-east-1.console.aws.amazon.com",
	} {
		if got := console(region); got != host {
			t.Errorf("%s: %s", region, got)
		}
	}
}
