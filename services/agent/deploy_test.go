package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/cloudoptim/cloudoptim/pkg/config"
)

const (
	manifest  = "../../deploy/agent-rbac.yaml"
	force     = "../../deploy/agent-rbac-force.yaml"
	admission = "../../deploy/agent-admission.yaml"
	chart     = "../../deploy/helm/cloudoptim-agent"
)

// render does of Helm what the chart uses, so that it is checked without Helm.
func render(t *testing.T, change func(values map[string]any)) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	values["clusterId"] = "5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01"
	values["central"].(map[string]any)["address"] = "central.example.com:443"
	change(values)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*.yaml"))
	if err != nil || len(files) != 4 {
		t.Fatalf("templates %v, %v", files, err)
	}
	out := &bytes.Buffer{}
	for _, file := range files {
		tmpl, err := template.New(filepath.Base(file)).Option("missingkey=error").Funcs(template.FuncMap{
			"toYaml": func(v any) string { b, _ := yaml.Marshal(v); return strings.TrimSpace(string(b)) },
			"nindent": func(n int, s string) string {
				return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
			},
			"default": func(fallback, v any) any {
				if v == nil || v == "" {
					return fallback
				}
				return v
			},
			"quote": func(v any) string { return fmt.Sprintf("%q", v) },
		}).ParseFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		err = tmpl.Execute(out, map[string]any{
			"Values": values, "Release": map[string]any{"Name": "cloudoptim-agent", "Namespace": "cloudoptim"},
			"Chart": map[string]any{"AppVersion": "0.1.0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n---\n")
	}
	return out.String()
}

// rights are the RBAC objects of a manifest by kind and name; rules only, as
// comments and order of objects mean nothing.
func rights(t *testing.T, text string) map[string][]rbacv1.PolicyRule {
	t.Helper()
	out := map[string][]rbacv1.PolicyRule{}
	each(t, text, func(doc []byte, kind, name string) {
		if kind == "ClusterRole" || kind == "Role" {
			var role rbacv1.ClusterRole
			if err := yaml.UnmarshalStrict(doc, &role); err != nil {
				t.Fatal(err)
			}
			out[kind+" "+name] = role.Rules
		}
	})
	return out
}

func each(t *testing.T, text string, do func(doc []byte, kind, name string)) {
	t.Helper()
	docs := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
	buffer := make([]byte, 1<<20)
	for {
		n, err := docs.Read(buffer)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal(buffer[:n], &head); err != nil {
			t.Fatalf("%v in\n%s", err, buffer[:n])
		}
		if head.Kind != "" {
			do(bytes.Clone(buffer[:n]), head.Kind, head.Metadata.Name)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestChartGrantsWhatTheManifestsGrant(t *testing.T) {
	base, forced := rights(t, read(t, manifest)), rights(t, read(t, force))
	if len(base) != 2 || len(forced) != 1 {
		t.Fatalf("the manifests have %v and %v", base, forced)
	}
	without := func(v map[string]any) { v["allowForcedDrain"] = false }
	if diff := cmp.Diff(base, rights(t, render(t, without))); diff != "" {
		t.Fatal(diff)
	}
	maps.Copy(base, forced)
	if diff := cmp.Diff(base, rights(t, render(t, func(map[string]any) {}))); diff != "" {
		t.Fatal(diff)
	}
}

// policies are the admission policies and bindings of a manifest by kind and name.
func policies(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	each(t, text, func(doc []byte, kind, name string) {
		switch kind {
		case "ValidatingAdmissionPolicy":
			var p admissionv1.ValidatingAdmissionPolicy
			if err := yaml.UnmarshalStrict(doc, &p); err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			out[kind+" "+name] = p.Spec
		case "ValidatingAdmissionPolicyBinding":
			var b admissionv1.ValidatingAdmissionPolicyBinding
			if err := yaml.UnmarshalStrict(doc, &b); err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			out[kind+" "+name] = b.Spec
		}
	})
	return out
}

func TestChartAdmitsWhatTheManifestAdmits(t *testing.T) {
	want := policies(t, read(t, admission))
	if len(want) != 8 {
		t.Fatalf("the manifest has %v", want)
	}
	if diff := cmp.Diff(want, policies(t, render(t, func(map[string]any) {}))); diff != "" {
		t.Fatal(diff)
	}
	if off := policies(t, render(t, func(v map[string]any) { v["admissionPolicy"] = false })); len(off) != 0 {
		t.Fatalf("switched off, the chart has %v", off)
	}
}

func TestChartStartsTheAgentWithSettingsThatItKnows(t *testing.T) {
	found := false
	each(t, render(t, func(map[string]any) {}), func(doc []byte, kind, _ string) {
		if kind != "DaemonSet" {
			return
		}
		found = true
		var set appsv1.DaemonSet
		if err := yaml.UnmarshalStrict(doc, &set); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		var s settings
		pod := set.Spec.Template.Spec
		err := config.Load(&s, config.Options{Name: "agent", Args: pod.Containers[0].Args, Environ: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		if s.Central.Address != "central.example.com:443" || !s.Central.TLS || !s.elects() || s.Agent.APIKeyFile != "/etc/cloudoptim/api-key" {
			t.Fatalf("settings %+v", s)
		}
		if !s.watches() || s.Agent.NodeName != "$(NODE_NAME)" || s.Agent.ID != "$(POD_NAME)" {
			t.Fatalf("the node is not watched: settings %+v", s)
		}
		if len(pod.Tolerations) != 1 || pod.Tolerations[0].Operator != "Exists" || pod.PriorityClassName != "system-node-critical" || pod.HostNetwork {
			t.Fatalf("the pod does not run on every node: %+v", pod)
		}
	})
	if !found {
		t.Fatal("no DaemonSet")
	}
}

func TestAnAgentWithoutANodeWatchesNone(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want bool
	}{
		"no node":      {nil, false},
		"a node":       {[]string{"--agent.node_name=n"}, true},
		"switched off": {[]string{"--agent.node_name=n", "--agent.imds=false"}, false},
		"lab":          {[]string{"--agent.kubeconfig=k"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(tc.args, "--central.address=c:1", "--agent.cluster_id=5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01", "--agent.api_key=a")
			var s settings
			if err := config.Load(&s, config.Options{Name: "agent", Args: args, Environ: []string{}}); err != nil {
				t.Fatal(err)
			}
			if s.watches() != tc.want {
				t.Fatalf("watches %v", s.watches())
			}
		})
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	const id = "--agent.cluster_id=5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01"
	good := []string{"--central.address=c:1", id}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no key":         {good, "agent.api_key"},
		"two keys":       {append([]string{"--agent.api_key=a", "--agent.api_key_file=b"}, good...), "not both"},
		"no central":     {[]string{id, "--agent.api_key=a"}, "central.address"},
		"no cluster":     {[]string{"--central.address=c:1", "--agent.api_key=a"}, "agent.cluster_id"},
		"a name":         {[]string{"--central.address=c:1", "--agent.cluster_id=prod", "--agent.api_key=a"}, "must be a UUID"},
		"no node":        {append([]string{"--agent.api_key=a", "--agent.imds=true"}, good...), "agent.node_name"},
		"no metadata":    {append([]string{"--agent.api_key=a", "--agent.node_name=n", "--agent.imds_endpoint=x"}, good...), "agent.imds_endpoint"},
		"no REST":        {append([]string{"--agent.api_key=a", "--central.rest_url=central"}, good...), "central.rest_url"},
		"an unknown one": {append([]string{"--agent.colour=red"}, good...), "colour"},
	} {
		t.Run(name, func(t *testing.T) {
			var s settings
			err := config.Load(&s, config.Options{Name: "agent", Args: tc.args, Environ: []string{}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
		})
	}
}
