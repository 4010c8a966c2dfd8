#include "loopback_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace webhook::test {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("loopback server: ") + what);
}

int bound_socket(int* port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(socket >= 0, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  require(bind(socket, reinterpret_cast<sockaddr*>(&address), length) == 0, "bind");
  require(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
  *port = ntohs(address.sin_port);
  return socket;
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  require(extension != nullptr, "certificate extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by the issuer, or by itself.
Certificate make_certificate(const std::string& name, long valid_seconds, const Certificate* issuer,
                             const std::string& alternative_names) {
  static std::atomic<long> next_serial{1};
  Certificate made;
  made.key.reset(EVP_EC_gen("P-256"));
  made.certificate.reset(X509_new());
  require(made.key && made.certificate, "key");
  X509* const x509 = made.certificate.get();
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), next_serial++);
  X509_gmtime_adj(X509_getm_notBefore(x509), -7200);
  X509_gmtime_adj(X509_getm_notAfter(x509), valid_seconds);
  X509_set_pubkey(x509, made.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* const signer = issuer != nullptr ? issuer->certificate.get() : x509;
  X509_set_issuer_name(x509, X509_get_subject_name(signer));
  add_extension(x509, signer, NID_subject_key_identifier, "hash");
  if (issuer == nullptr) {
    add_extension(x509, signer, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(x509, signer, NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    add_extension(x509, signer, NID_authority_key_identifier, "keyid");
    add_extension(x509, signer, NID_basic_constraints, "CA:FALSE");
    add_extension(x509, signer, NID_ext_key_usage, "serverAuth");
    add_extension(x509, signer, NID_subject_alt_name, alternative_names);
  }
  require(X509_sign(x509, (issuer != nullptr ? *issuer : made).key.get(), EVP_sha256()) > 0, "signature");
  return made;
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

void Gate::open() {
  const std::lock_guard lock(mutex_);
  open_ = true;
  changed_.notify_all();
}

bool Gate::wait() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return open_; });
}

CertificateAuthority::CertificateAuthority() : self_(make_certificate("Test CA", 3600, nullptr, "")) {
  std::string path = (std::filesystem::temp_directory_path() / "webhook-test-ca-XXXXXX").string();
  const int fd = mkstemp(path.data());
  require(fd >= 0, "mkstemp");
  std::FILE* const file = fdopen(fd, "w");
  require(file != nullptr && PEM_write_X509(file, self_.certificate.get()) == 1, "CA file");
  std::fclose(file);
  file_ = path;
}

CertificateAuthority::~CertificateAuthority() { unlink(file_.c_str()); }

Certificate CertificateAuthority::issue(const std::string& alternative_names, long valid_seconds) const {
  return make_certificate("Test server", valid_seconds, &self_, alternative_names);
}

bool Peer::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = tls_ != nullptr ? SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()))
                                      : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<std::string> Peer::receive() {
  std::array<char, 16384> chunk;
  const auto received = tls_ != nullptr ? SSL_read(tls_, chunk.data(), static_cast<int>(chunk.size()))
                                        : ::recv(socket_, chunk.data(), chunk.size(), 0);
  if (received <= 0) return std::nullopt;
  return std::string(chunk.data(), static_cast<std::size_t>(received));
}

void Peer::wait_until_client_closes() {
  while (receive()) {
  }
}

void Peer::reset_on_close() {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
}

LoopbackServer::LoopbackServer(Handler handler) : handler_(std::move(handler)) { listen_and_accept(); }

LoopbackServer::LoopbackServer(Handler handler, const Certificate& certificate)
    : handler_(std::move(handler)), tls_(SSL_CTX_new(TLS_server_method())) {
  std::signal(SIGPIPE, SIG_IGN);  // SSL_write() has no MSG_NOSIGNAL
  require(tls_ != nullptr && SSL_CTX_use_certificate(tls_.get(), certificate.certificate.get()) == 1 &&
              SSL_CTX_use_PrivateKey(tls_.get(), certificate.key.get()) == 1,
          "certificate");
  listen_and_accept();
}

void LoopbackServer::listen_and_accept() {
  listener_ = bound_socket(&port_);
  require(listen(listener_, 1024) == 0, "listen");
  acceptor_ = std::thread([this] { accept_loop(); });
}

LoopbackServer::~LoopbackServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    for (const Connection& connection : connections_) {
      if (connection.socket >= 0) shutdown(connection.socket, SHUT_RDWR);
    }
  }
  acceptor_.join();
  for (Connection& connection : connections_) connection.thread.join();
  close(listener_);
}

std::string LoopbackServer::url(std::string_view path) const { return url_of_host("127.0.0.1", path); }

std::string LoopbackServer::url_of_host(std::string_view host, std::string_view path) const {
  return std::string(tls_ ? "https://" : "http://") + std::string(host) + ":" + std::to_string(port_) +
         std::string(path);
}

std::vector<ReceivedRequest> LoopbackServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void LoopbackServer::accept_loop() {
  while (true) {
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (socket < 0 || stopping_) {
      if (socket >= 0) close(socket);
      return;
    }
    ++connections_accepted_;
    Connection& connection = connections_.emplace_back(Connection{.socket = socket, .thread = {}});
    connection.thread = std::thread([this, &connection] {
      serve(connection.socket);
      const std::lock_guard relock(mutex_);
      close(std::exchange(connection.socket, -1));
    });
  }
}

void LoopbackServer::serve(int socket) {
  std::unique_ptr<SSL, FreeOpenSsl> tls;
  if (tls_) {
    tls.reset(SSL_new(tls_.get()));
    SSL_set_fd(tls.get(), socket);
    if (SSL_accept(tls.get()) != 1) return;
  }
  Peer peer(socket, tls.get());
  std::string buffer;
  while (auto request = read_request(peer, buffer)) {
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(*request);
    }
    if (handler_(*request, peer) == Then::kClose) break;
  }
  if (tls) SSL_shutdown(tls.get());
}

std::optional<ReceivedRequest> LoopbackServer::read_request(Peer& peer, std::string& buffer) const {
  const auto fill = [&] {
    auto more = peer.receive();
    if (more) buffer += *more;
    return more.has_value();
  };
  std::size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return std::nullopt;
  }
  ReceivedRequest request;
  std::string_view head = std::string_view(buffer).substr(0, end + 2);
  const std::string_view first = head.substr(0, head.find("\r\n"));
  request.method = first.substr(0, first.find(' '));
  request.target = first.substr(first.find(' ') + 1, first.rfind(' ') - first.find(' ') - 1);
  for (head.remove_prefix(first.size() + 2); !head.empty();) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(line.size() + 2);
    const std::size_t colon = line.find(':');
    const std::size_t value = line.find_first_not_of(' ', colon + 1);
    request.headers[lower_case(std::string(line.substr(0, colon)))] =
        value == std::string_view::npos ? "" : line.substr(value);
  }
  std::size_t length = 0;
  const std::string& text = request.headers["content-length"];
  std::from_chars(text.data(), text.data() + text.size(), length);
  while (buffer.size() < end + 4 + length) {
    if (!fill()) return std::nullopt;
  }
  request.body = buffer.substr(end + 4, length);
  buffer.erase(0, end + 4 + length);
  return request;
}

std::string http_response(int status, std::string_view body, std::string_view more_headers) {
  return "HTTP/1.1 " + std::to_string(status) + " Status\r\n" + std::string(more_headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

int unused_port() {
  int port = 0;
  close(bound_socket(&port));
  return port;
}

}  // namespace webhook::test
