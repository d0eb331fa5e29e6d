package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// lifetime of every certificate; a cluster is thrown away long before.
const lifetime = 240 * time.Hour

// authority signs the certificates of one cluster.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// writeIdentities makes all keys, certificates and kubeconfigs.
func (c *cluster) writeIdentities() error {
	if err := os.MkdirAll(c.path("pki"), 0o700); err != nil {
		return err
	}
	var err error
	if c.pki, err = newAuthority(); err != nil {
		return err
	}
	if err := c.writePKI(); err != nil {
		return err
	}
	for user, group := range map[string]string{
		"admin":                          "system:masters",
		"system:kube-controller-manager": "",
		"system:kube-scheduler":          "",
		"kwok-controller":                "system:masters",
	} {
		if err := c.writeKubeconfig(user, group); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) writePKI() error {
	caKey, err := pemKey(c.pki.key)
	if err != nil {
		return err
	}
	serving := certificate("kube-apiserver")
	serving.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serving.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	serving.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)}
	servingCert, servingKey, err := c.pki.issue(serving)
	if err != nil {
		return err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tokensKey, err := pemKey(tokens)
	if err != nil {
		return err
	}
	tokensPub, err := x509.MarshalPKIXPublicKey(tokens.Public())
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"ca.crt": pemCert(c.pki.cert.Raw), "ca.key": caKey,
		"apiserver.crt": servingCert, "apiserver.key": servingKey,
		"sa.key": tokensKey, "sa.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: tokensPub}),
	} {
		if err := os.WriteFile(c.path("pki/"+name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) writeKubeconfig(user, group string) error {
	tmpl := certificate(user)
	if group != "" {
		tmpl.Subject.Organization = []string{group}
	}
	cert, key, err := c.pki.issue(tmpl)
	if err != nil {
		return err
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["kubebox"] = &clientcmdapi.Cluster{Server: c.server(), CertificateAuthorityData: pemCert(c.pki.cert.Raw)}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	cfg.Contexts["kubebox"] = &clientcmdapi.Context{Cluster: "kubebox", AuthInfo: user}
	cfg.CurrentContext = "kubebox"
	return clientcmd.WriteToFile(*cfg, c.path(user+".kubeconfig"))
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := certificate("kubebox-ca")
	tmpl.SerialNumber = big.NewInt(1)
	tmpl.KeyUsage |= x509.KeyUsageCertSign
	tmpl.ExtKeyUsage = nil
	tmpl.BasicConstraintsValid, tmpl.IsCA = true, true
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, key: key}, err
}

// certificate is a client's certificate, to be changed before it is issued.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) issue(tmpl *x509.Certificate) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = pemKey(k)
	return pemCert(der), key, err
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pemKey(k crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k.(*ecdsa.PrivateKey))
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}
