package admin

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"github.com/cloudoptim/cloudoptim/deploy/aws"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Install says where clusters connect, and with what they are installed.
type Install struct {
	// Address is host:port of the gRPC door from outside, TLS whether it speaks TLS there.
	Address string
	TLS     bool
	// URL of REST from outside.
	URL string
	// TemplateURL is the S3 address of the stack's template; empty: nowhere.
	TemplateURL string
	// PrincipalARN that customers' roles trust; empty: people fill it in.
	PrincipalARN string
	// Chart as helm takes it.
	Chart string
}

// release is the name of the chart's release, its namespace and its Secret's key.
const (
	release   = "cloudoptim-agent"
	namespace = "cloudoptim"
	secretKey = "api-key"
)

// GetClusterInstall returns what to paste to connect it.
func (s *Server) GetClusterInstall(ctx context.Context, req *adminv1.GetClusterInstallRequest) (*adminv1.GetClusterInstallResponse, error) {
	cluster, customer, err := s.asked(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	of, err := s.Store.ClusterInstall(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	values, err := s.Install.helmValues(cluster)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetClusterInstallResponse{
		HelmCommand: s.Install.helmCommand(cluster), HelmValues: values, HelmUninstallCommand: helmUninstall(),
		CloudformationUrl: s.Install.stackURL(of), CloudformationTemplate: aws.Customer, CloudformationCommand: s.Install.stackCommand(of),
		ExternalId: of.ExternalID, CentralAddress: s.Install.Address,
	}, nil
}

func (in Install) helmValues(cluster uuid.UUID) (string, error) {
	text, err := yaml.Marshal(map[string]any{
		"clusterId": cluster.String(),
		"central":   map[string]any{"address": in.Address, "tls": in.TLS, "restUrl": in.URL},
		"apiKey":    map[string]any{"secretName": release, "secretKey": secretKey},
	})
	return string(text), err
}

// helmCommand is one parenthesis, so that a shell into which it is pasted reads all of it before it
// asks for the key, which would else be its next line. The key goes through pipes alone:
// command lines are there for everybody to see, and an applied object keeps a copy of what was applied.
func (in Install) helmCommand(cluster uuid.UUID) string {
	return fmt.Sprintf(`(
  set -eu
  printf 'API key of the agent: ' >&2
  read -rs key
  echo >&2
  kubectl create namespace %[1]s --dry-run=client -o yaml | kubectl apply --server-side -f - >&2
  printf '%%s' "$key" |
    kubectl create secret generic %[2]s --namespace %[1]s --from-file=%[3]s=/dev/stdin --dry-run=client -o yaml |
    kubectl apply --server-side --force-conflicts -f - >&2
  helm upgrade --install %[2]s %[4]s --namespace %[1]s \
    --set-string clusterId=%[5]s \
    --set-string central.address=%[6]s \
    --set central.tls=%[7]t \
    --set-string central.restUrl=%[8]s \
    --set-string apiKey.secretName=%[2]s \
    --set-string apiKey.secretKey=%[3]s
)
`, namespace, release, secretKey, quote(in.Chart), cluster, quote(helmText(in.Address)), in.TLS, quote(helmText(in.URL)))
}

func helmUninstall() string {
	return fmt.Sprintf(`helm uninstall %[2]s --namespace %[1]s
kubectl delete secret %[2]s --namespace %[1]s
`, namespace, release)
}

// helmText is a value as --set takes it: commas divide settings there.
func helmText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
}

// quote is s as one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

var notInStackNames = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// stackName has letters, digits and hyphens alone.
func stackName(of store.Install) string {
	name := "cloudoptim-" + strings.Trim(notInStackNames.ReplaceAllString(of.ClusterName, "-"), "-")
	return strings.TrimRight(name[:min(len(name), 128)], "-")
}

// stackURL is CloudFormation's quick-create page; it takes templates from S3 alone.
func (in Install) stackURL(of store.Install) string {
	if in.TemplateURL == "" {
		return ""
	}
	query := url.Values{
		"templateURL": {in.TemplateURL}, "stackName": {stackName(of)},
		"param_ClusterName": {of.ClusterName}, "param_ExternalId": {of.ExternalID},
	}
	if in.PrincipalARN != "" {
		query.Set("param_CentralPrincipalArn", in.PrincipalARN)
	}
	return fmt.Sprintf("https://%s/cloudformation/home?region=%s#/stacks/quickcreate?%s", console(of.Region), url.QueryEscape(of.Region),
		strings.ReplaceAll(query.Encode(), "+", "%20"))
}

// console is the host of AWS's console in a region's partition.
func console(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "console.amazonaws.cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "console.amazonaws-us-gov.com"
	default:
		return region + ".console.aws.amazon.com"
	}
}

// stackCommand carries the template with it. What central does not know is asked of the environment.
func (in Install) stackCommand(of store.Install) string {
	principal := `"${CENTRAL_PRINCIPAL_ARN:?set it to the ARN of the identity that CloudOptim runs as}"`
	if in.PrincipalARN != "" {
		principal = quote(in.PrincipalARN)
	}
	return fmt.Sprintf(`(
  set -eu
  node_role="${NODE_ROLE_ARN:?set it to the ARN of the role of the nodes}"
  principal=%[1]s
  template="$(mktemp)"
  trap 'rm -f "$template"' EXIT
  cat >"$template" <<'END_OF_TEMPLATE'
%[2]s
END_OF_TEMPLATE
  aws cloudformation deploy --region %[3]s --stack-name %[4]s --template-file "$template" --capabilities CAPABILITY_NAMED_IAM \
    --parameter-overrides ClusterName=%[5]s ExternalId=%[6]s "CentralPrincipalArn=$principal" "NodeRoleArn=$node_role"
)
`, principal, strings.TrimSuffix(aws.Customer, "\n"), quote(of.Region), quote(stackName(of)), quote(of.ClusterName), quote(of.ExternalID))
}
