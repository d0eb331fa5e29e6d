// Package helm checks the charts without Helm.
package helm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"text/template"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/cloudoptim/cloudoptim/pkg/config"
)

// objects of the rendered chart that are looked at, each by name.
type objects struct {
	deployments map[string]appsv1.Deployment
	services    map[string]corev1.Service
	accounts    map[string]corev1.ServiceAccount
	budgets     map[string]policyv1.PodDisruptionBudget
	notes       string
}

func values(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("cloudoptim/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	put(all, "database.host", "postgres.example.com")
	return all
}

func put(in map[string]any, path string, value any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		in = in[name].(map[string]any)
	}
	in[names[len(names)-1]] = value
}

// funcs are those of Helm's that the chart uses.
var funcs = template.FuncMap{
	"toYaml": func(v any) string { b, _ := yaml.Marshal(v); return strings.TrimSpace(string(b)) },
	"nindent": func(n int, s string) string {
		pad := "\n" + strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(s, "\n", pad)
	},
	"default": func(fallback, v any) any {
		if v == nil || v == "" {
			return fallback
		}
		return v
	},
	"quote": func(v any) string { return strconv.Quote(fmt.Sprint(v)) },
	"join": func(sep string, v []any) string {
		words := make([]string, len(v))
		for i := range v {
			words[i] = fmt.Sprint(v[i])
		}
		return strings.Join(words, sep)
	},
	"int": func(v any) int { f, _ := v.(float64); return int(f) },
}

// render makes the chart's objects; a field that Kubernetes does not know is an error.
func render(t *testing.T, change map[string]any) objects {
	t.Helper()
	all := values(t)
	for path, value := range change {
		put(all, path, value)
	}
	out := objects{
		deployments: map[string]appsv1.Deployment{}, services: map[string]corev1.Service{},
		accounts: map[string]corev1.ServiceAccount{}, budgets: map[string]policyv1.PodDisruptionBudget{},
	}
	files, err := filepath.Glob("cloudoptim/templates/*")
	if err != nil || len(files) != 3 {
		t.Fatalf("templates %v, %v", files, err)
	}
	for _, file := range files {
		tmpl, err := template.New(filepath.Base(file)).Option("missingkey=error").Funcs(funcs).ParseFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		text := &bytes.Buffer{}
		err = tmpl.Execute(text, map[string]any{
			"Values": all, "Release": map[string]any{"Name": "co", "Namespace": "cloudoptim"}, "Chart": map[string]any{"AppVersion": "0.1.0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".txt") {
			out.notes = text.String()
			continue
		}
		out.read(t, text.Bytes())
	}
	return out
}

func (o *objects) read(t *testing.T, text []byte) {
	t.Helper()
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch head.Kind {
		case "Deployment":
			one := strict[appsv1.Deployment](t, doc)
			o.deployments[one.Name] = one
		case "Service":
			one := strict[corev1.Service](t, doc)
			o.services[one.Name] = one
		case "ServiceAccount":
			one := strict[corev1.ServiceAccount](t, doc)
			o.accounts[one.Name] = one
		case "PodDisruptionBudget":
			one := strict[policyv1.PodDisruptionBudget](t, doc)
			o.budgets[one.Name] = one
		default:
			t.Fatalf("unexpected %q in\n%s", head.Kind, doc)
		}
	}
}

func strict[T any](t *testing.T, doc []byte) T {
	t.Helper()
	var one T
	if err := yaml.UnmarshalStrict(doc, &one); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return one
}

// known are the settings of a server, by key: its own are read from its source,
// as a program cannot be imported.
func known(t *testing.T, server string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../../services", server, "config.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "settings" {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			section, ok := field.Type.(*ast.StructType)
			if !ok {
				continue // config.Common
			}
			for _, one := range section.Fields.List {
				keys[tag(t, field)+"."+tag(t, one)] = true
			}
		}
		return false
	})
	if len(keys) == 0 {
		t.Fatalf("%s has no settings", server)
	}
	common := reflect.TypeFor[config.Common]()
	for i := range common.NumField() {
		section := common.Field(i)
		if section.Type.Kind() != reflect.Struct {
			keys[section.Tag.Get("koanf")] = true
			continue
		}
		for j := range section.Type.NumField() {
			keys[section.Tag.Get("koanf")+"."+section.Type.Field(j).Tag.Get("koanf")] = true
		}
	}
	return keys
}

func tag(t *testing.T, field *ast.Field) string {
	t.Helper()
	text, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		t.Fatal(err)
	}
	return reflect.StructTag(text).Get("koanf")
}

var everything = map[string]any{
	"image.registry": "example.com/", "imagePullSecrets": []any{map[string]any{"name": "pull"}},
	"database.ca.secretName": "ca", "database.ml.passwordSecret.name": "db", "redis.host": "redis", "redis.passwordSecret.name": "redis",
	"central.serviceAccount.annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/central"},
	"central.service.annotations":        map[string]any{"a": "b"},
	"ml.market.regions":                  []any{"us-east-1", "eu-west-1"}, "priorityClassName": "high",
	"tolerations": []any{map[string]any{"operator": "Exists"}},
}

func TestChartStartsTheServersWithSettingsThatTheyKnow(t *testing.T) {
	for name, change := range map[string]map[string]any{"as it is": nil, "with everything": everything} {
		t.Run(name, func(t *testing.T) {
			got := render(t, change)
			for _, server := range []string{"central", "ml"} {
				requireKnown(t, server, got.deployments["co-"+server].Spec.Template.Spec)
			}
		})
	}
}

func requireKnown(t *testing.T, server string, pod corev1.PodSpec) {
	t.Helper()
	keys := known(t, server)
	variables := map[string]bool{"POD_NAME": true, "GOMEMLIMIT": true, "PGSSLROOTCERT": true, "CLOUDOPTIM_ML_API_KEY": true}
	for key := range keys {
		variables["CLOUDOPTIM_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = true
	}
	if len(pod.Containers) != 1 || len(pod.Containers[0].Args) < 5 {
		t.Fatalf("%s has %+v", server, pod.Containers)
	}
	var shared []string
	for _, arg := range pod.Containers[0].Args {
		key, _, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !ok || !keys[key] {
			t.Errorf("%s does not know %s", server, arg)
		}
		switch section, _, _ := strings.Cut(key, "."); section {
		case "environment", "logging", "database", "redis", "api", "aws":
			shared = append(shared, arg)
		}
	}
	for _, env := range pod.Containers[0].Env {
		if !variables[env.Name] {
			t.Errorf("%s does not know the variable %s", server, env.Name)
		}
	}
	var common struct {
		config.Common `koanf:",squash"`
	}
	err := config.Load(&common, config.Options{
		Name: server, Args: shared, Environ: []string{}, OtherSections: []string{"central", "ml", "server", "auth", "market", "agent", "interruption"},
	})
	if err != nil {
		t.Errorf("%s refuses its settings: %v", server, err)
	}
}

func TestEveryObjectFindsTheOthers(t *testing.T) {
	got := render(t, everything)
	for _, server := range []string{"central", "ml"} {
		name := "co-" + server
		deployment := got.deployments[name]
		pod := deployment.Spec.Template
		budget, service := got.budgets[name].Spec.Selector, got.services[name]
		for what, selector := range map[string]map[string]string{
			"deployment": deployment.Spec.Selector.MatchLabels, "service": service.Spec.Selector, "budget": budget.MatchLabels,
		} {
			if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
				t.Errorf("the %s of %s selects %v, its pods are %v", what, server, selector, pod.Labels)
			}
		}
		if _, ok := got.accounts[pod.Spec.ServiceAccountName]; !ok {
			t.Errorf("%s runs as %s, which is not there", server, pod.Spec.ServiceAccountName)
		}
		container := pod.Spec.Containers[0]
		args := strings.Join(container.Args, " ")
		for _, port := range container.Ports {
			if !strings.Contains(args, fmt.Sprintf("_address=:%d", port.ContainerPort)) {
				t.Errorf("%s does not listen on %s %d", server, port.Name, port.ContainerPort)
			}
		}
		for _, port := range service.Spec.Ports {
			if !hasPort(container, port.TargetPort.StrVal) {
				t.Errorf("the service of %s leads to %s, which is not there", server, port.TargetPort.StrVal)
			}
		}
		for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
			if probe == nil || !hasPort(container, probe.HTTPGet.Port.StrVal) {
				t.Errorf("%s is probed by %v", server, probe)
			}
		}
	}
	central := strings.Join(got.deployments["co-central"].Spec.Template.Spec.Containers[0].Args, " ")
	if !strings.Contains(central, fmt.Sprintf("--ml.address=co-ml:%d", got.services["co-ml"].Spec.Ports[1].Port)) {
		t.Errorf("central looks for ml elsewhere: %s", central)
	}
}

func hasPort(container corev1.Container, name string) bool {
	for _, port := range container.Ports {
		if port.Name == name {
			return true
		}
	}
	return false
}

func TestSecretsAreNamedAndNeverHeld(t *testing.T) {
	for name, deployment := range render(t, everything).deployments {
		for _, env := range deployment.Spec.Template.Spec.Containers[0].Env {
			secret := strings.HasSuffix(env.Name, "_PASSWORD") || strings.HasSuffix(env.Name, "_KEY")
			if secret && (env.Value != "" || env.ValueFrom.SecretKeyRef == nil || env.ValueFrom.SecretKeyRef.Name == "") {
				t.Errorf("%s holds %s itself", name, env.Name)
			}
		}
	}
}

func TestMLWithoutASecretOfTheDatabaseRunsWithoutIt(t *testing.T) {
	with := strings.Join(render(t, everything).deployments["co-ml"].Spec.Template.Spec.Containers[0].Args, " ")
	without := strings.Join(render(t, nil).deployments["co-ml"].Spec.Template.Spec.Containers[0].Args, " ")
	if !strings.Contains(with, "--database.host=postgres.example.com") || !strings.Contains(without+" ", "--database.host= ") {
		t.Errorf("with: %s\nwithout: %s", with, without)
	}
}

func TestNotesWarnOfReplicasThatDoNotHearEachOther(t *testing.T) {
	alone := render(t, map[string]any{"central.replicas": float64(1)}).notes
	deaf := render(t, nil).notes
	shared := render(t, everything).notes
	if strings.Contains(alone, "no redis.host") || !strings.Contains(deaf, "no redis.host") || strings.Contains(shared, "no redis.host") {
		t.Errorf("alone:\n%s\nwithout Redis:\n%s\nwith Redis:\n%s", alone, deaf, shared)
	}
}

// Every value has a place in the schema, and the schema names no value that is not there.
func TestSchemaAndValuesNameTheSame(t *testing.T) {
	text, err := os.ReadFile("cloudoptim/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.UnmarshalStrict(text, &schema); err != nil {
		t.Fatal(err)
	}
	compare(t, "", schema, values(t))
}

func compare(t *testing.T, path string, schema, values map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if properties == nil || schema["additionalProperties"] != false {
		return // free, such as resources and annotations
	}
	for name, value := range values {
		property, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("the schema does not know %s%s", path, name)
			continue
		}
		if inner, ok := value.(map[string]any); ok {
			compare(t, path+name+".", property, inner)
		}
	}
	for name := range properties {
		if _, ok := values[name]; !ok && name != "global" {
			t.Errorf("values.yaml does not show %s%s", path, name)
		}
	}
}
