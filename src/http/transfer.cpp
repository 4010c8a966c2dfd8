#include "http/transfer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "core/response_headers.h"
#include "http/url.h"

namespace webhook {
namespace {

constexpr std::size_t kRetryAfterBytesMax = 128;
// CURLE_TOO_LARGE of libcurl 8.6 and newer. Older versions return CURLE_OUT_OF_MEMORY.
constexpr auto kLineTooLong = static_cast<CURLcode>(100);
constexpr long kDnsCacheSeconds = 60;
// libcurl allocates this buffer for each request over TLS. With the default, 64 kB, glibc returned the memory to the
// system and fetched it again with every fifth request.
constexpr long kUploadBufferBytes = 16 * 1024;
// Below the limits of common servers and load balancers (nginx 75 s, AWS 60 s), so that they rarely close a connection
// just as a request is sent.
constexpr long kIdleSecondsMax = 50;
// Even a busy connection is replaced after this time, so that a host's new address is used and checked.
constexpr long kConnectionSecondsMax = 600;

constexpr std::size_t kLocationBytesMax = 2048;
constexpr std::size_t kEncodingBytesMax = 64;

constexpr std::string_view kCut = "...\n";  // the end of a field that was cut, and of a line

// A reason that OpenSSL or libcurl gives, and what it means to a reader of webhook_logs.
struct Meaning {
  std::string_view said;
  std::string_view means;
};
constexpr std::array<Meaning, 4> kTlsMeanings = {{
    {"wrong version number", "the receiver does not speak TLS"},
    {"alert protocol version", "the receiver speaks no TLS of version 1.2 or newer"},
    {"unsupported protocol", "the receiver speaks no TLS of version 1.2 or newer"},
    {"unexpected eof", "the receiver closed the connection"},
}};

// Words in the messages of all versions of libcurl about a response that is not valid HTTP.
constexpr std::array<Meaning, 2> kFormatMeanings = {{
    {"Content-Length", "its Content-Length is not a length"},
    {"ul byte", "a header contains a NUL"},
}};

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLE_OK) throw std::runtime_error(std::string("libcurl refused an option: ") + curl_easy_strerror(code));
}

long to_ms(Duration duration) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<long>(std::clamp<long long>(ms, 1, 24LL * 60 * 60 * 1000));  // 0 would mean no timeout
}

// Does not throw. No value if it is not an internet address.
std::optional<std::pair<IpAddress, int>> to_address(const curl_sockaddr& from) {
  if (from.family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &from.addr, sizeof in);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
    return std::pair(IpAddress::v4(bytes), static_cast<int>(ntohs(in.sin_port)));
  }
  if (from.family == AF_INET6) {
    sockaddr_in6 in{};
    // The struct that libcurl hands out is longer than its declared last member.
    std::memcpy(&in, static_cast<const void*>(&from.addr), std::min<std::size_t>(sizeof in, from.addrlen));
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return std::pair(IpAddress::v6(bytes), static_cast<int>(ntohs(in.sin6_port)));
  }
  return std::nullopt;
}

std::string to_text(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(address.is_v6 ? AF_INET6 : AF_INET, address.bytes.data(), text.data(), text.size());
  return text.data();
}

char lower(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a') : character;
}

bool begins_with_name(std::string_view line, std::string_view lower_case_name) {
  return line.size() >= lower_case_name.size() &&
         std::equal(lower_case_name.begin(), lower_case_name.end(), line.begin(),
                    [](char expected, char found) { return expected == lower(found); });
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

template <std::size_t N>
std::optional<std::string_view> meaning_of(std::string_view said, const std::array<Meaning, N>& meanings) {
  for (const Meaning& meaning : meanings) {
    if (said.find(meaning.said) != std::string_view::npos) return meaning.means;
  }
  return std::nullopt;
}

// OpenSSL's name of the error in the message, which gives its number as "error:0A00010B:…". Empty if there is no
// number. The words before the number may also end in "error:".
std::string_view openssl_reason(std::string_view message) {
  constexpr std::string_view kMark = "error:";
  for (std::size_t mark = message.find(kMark); mark != std::string_view::npos; mark = message.find(kMark, mark + 1)) {
    const std::string_view digits = message.substr(mark + kMark.size());
    unsigned long number = 0;
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    if (problem != std::errc()) continue;
    const char* const reason = ERR_reason_error_string(number);
    return reason == nullptr ? std::string_view() : reason;
  }
  return {};
}

// Whether the failure is the socket's or TLS's, not that of the received data.
bool is_socket_failure(std::string_view message) {
  constexpr std::array<std::string_view, 4> kSaid = {"Recv failure", "SSL_read", "reset", "timed out"};
  return std::any_of(kSaid.begin(), kSaid.end(),
                     [&](std::string_view said) { return message.find(said) != std::string_view::npos; });
}

template <typename Value>
Value info(CURL* easy, CURLINFO which) {
  Value value{};
  curl_easy_getinfo(easy, which, &value);
  return value;
}

}  // namespace

Transfer::Transfer(const HttpSettings& settings, Poller& poller, Lookups& lookups)
    : settings_(settings),
      poller_(poller),
      lookups_(lookups),
      user_agent_("User-Agent: " + settings.user_agent),
      easy_(curl_easy_init()) {
  if (easy_ == nullptr) throw std::bad_alloc();
  kept_fields_.reserve(kKeptHeaderBytesMax);
  set_constant_options();
  set_trust();
}

Transfer::~Transfer() {
  if (looks_up_) lookups_.end();  // the client is being destroyed, so abandoned look-ups no longer matter
}

void Transfer::set_constant_options() {
  CURL* const easy = easy_.get();
  set(easy, CURLOPT_PRIVATE, static_cast<void*>(this));
  set(easy, CURLOPT_ERRORBUFFER, error_buffer_.data());

  // PostgreSQL owns the process's signals and its loop, so closing a handle must not wait for its resolver thread.
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_QUICK_EXIT, 1L);

  // HTTP/1.1 rather than HTTP/2: a connection carries one request at a time, so that endpoints don't wait for each
  // other's bodies. libcurl's HTTP/2 is slower on loopback. A server that answers before it has read the body breaks
  // HTTP/2 POSTs.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_HTTP09_ALLOWED, 0L);
  set(easy, CURLOPT_POST, 1L);
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
  // Only for CONNECT. The request itself has its own line, because libcurl would format this option for each request.
  if (!settings_.proxy.empty()) set(easy, CURLOPT_USERAGENT, settings_.user_agent.c_str());

  set(easy, CURLOPT_PROTOCOLS_STR, settings_.allow_http ? "http,https" : "https");
  set(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  set(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  // Set even if empty. Otherwise libcurl reads http_proxy, https_proxy and no_proxy from the environment.
  set(easy, CURLOPT_PROXY, settings_.proxy.c_str());
  set(easy, CURLOPT_NOPROXY, "");
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  set(easy, CURLOPT_TCP_NODELAY, 1L);
  set(easy, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBufferBytes);
  set(easy, CURLOPT_DNS_CACHE_TIMEOUT, kDnsCacheSeconds);
  set(easy, CURLOPT_MAXAGE_CONN, kIdleSecondsMax);
  set(easy, CURLOPT_MAXLIFETIME_CONN, kConnectionSecondsMax);

  set(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_attempt);
  set(easy, CURLOPT_PREREQDATA, static_cast<void*>(this));
  set(easy, CURLOPT_RESOLVER_START_FUNCTION, &Transfer::on_lookup);
  set(easy, CURLOPT_RESOLVER_START_DATA, static_cast<void*>(this));
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open_socket);
  set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  // A connection outlives the transfer that opened it, so its close callback gets the poller.
  set(easy, CURLOPT_CLOSESOCKETFUNCTION, &Transfer::on_close_socket);
  set(easy, CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&poller_));
  set(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
}

void Transfer::set_trust() {
  CURL* const easy = easy_.get();
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  set(easy, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
  if (!settings_.ca_file.empty()) {
    set(easy, CURLOPT_CAINFO, settings_.ca_file.c_str());
    set(easy, CURLOPT_PROXY_CAINFO, settings_.ca_file.c_str());
  }
  // Trust only the bundle: libcurl's built-in directory would add to ca_file. Also, libcurl keeps a parsed bundle for
  // the next handshakes only if there is no directory.
  if (info<char*>(easy, CURLINFO_CAINFO) != nullptr) {
    set(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));
    set(easy, CURLOPT_PROXY_CAPATH, static_cast<char*>(nullptr));
  }
}

Transfer* Transfer::of(CURL* easy) noexcept { return static_cast<Transfer*>(info<void*>(easy, CURLINFO_PRIVATE)); }

CURLcode Transfer::begin(HttpRequest request, SteadyTime now) {
  request_ = std::move(request);
  started_ = now;
  timeout_ms_ = to_ms(request_.timeout);
  connect_timeout_ms_ = std::min(timeout_ms_, to_ms(settings_.connect_timeout));
  // libcurl takes a C string, so it would silently cut the URL at a NUL. It would also guess a missing scheme.
  if (request_.url.text().find('\0') != std::string::npos) return CURLE_URL_MALFORMAT;
  if (request_.url.text().find("://") == std::string::npos) return CURLE_URL_MALFORMAT;
  // With a proxy, sockets connect to the proxy, so the webhook's port is checked here.
  if (!settings_.proxy.empty() && port_problem(request_.url.text(), settings_.allowed_ports))
    return CURLE_URL_MALFORMAT;
  if (!link_headers()) return CURLE_BAD_FUNCTION_ARGUMENT;

  CURL* const easy = easy_.get();
  if (request_.url.parsed() != nullptr) {
    set(easy, CURLOPT_CURLU, request_.url.parsed());
  } else {  // libcurl parses it, and refuses it in its own words
    const CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request_.url.text().c_str());
    if (code != CURLE_OK) return code;
  }
  if (!settings_.proxy.empty()) {
    // libcurl keeps with a connection to a proxy whether the host of its first request is an IPv6 address, and puts the
    // Host of all its requests into brackets, or none. So a request to such an address has a connection of its own.
    const bool is_alone = begins_with_name(request_.url.text(), "http:") && host().starts_with('[');
    set(easy, CURLOPT_FRESH_CONNECT, is_alone ? 1L : 0L);
    set(easy, CURLOPT_FORBID_REUSE, is_alone ? 1L : 0L);
  }
  set(easy, CURLOPT_HTTPHEADER, header_list_.data());
  const std::string_view body = request_.body == nullptr ? "" : std::string_view(*request_.body);
  set(easy, CURLOPT_POSTFIELDS, body.data());  // not copied: request_ owns it
  set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  set(easy, CURLOPT_TIMEOUT_MS, timeout_ms_);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms_);
  begun_ = true;
  return CURLE_OK;
}

// Links the request's own strings into a list for CURLOPT_HTTPHEADER, which reads them and never frees them. Returns
// false if a header would break out of its line.
//
// libcurl searches the whole list for each header that it would set itself, and formats each item. So request_.headers
// is a single item. libcurl needs to recognize only its first line, and the user agent's item.
bool Transfer::link_headers() {
  static char no_expect[] = "Expect:";  // libcurl would wait a second for "100 Continue" before a large body
  header_list_.clear();
  header_list_.reserve(request_.custom_headers.size() + 3);
  header_list_.push_back({.data = user_agent_.data(), .next = nullptr});
  header_list_.push_back({.data = request_.headers.data(), .next = nullptr});
  for (std::string& header : request_.custom_headers) {
    if (header.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) return false;
    const std::size_t colon = header.find(':');
    if (colon == std::string::npos) return false;
    // To libcurl, "Name:" removes a header, and "Name;" is a header without a value.
    if (trimmed(std::string_view(header).substr(colon + 1)).empty()) header.replace(colon, std::string::npos, ";");
    header_list_.push_back({.data = header.data(), .next = nullptr});
  }
  header_list_.push_back({.data = no_expect, .next = nullptr});
  for (std::size_t i = 1; i < header_list_.size(); ++i) header_list_[i - 1].next = &header_list_[i];
  return true;
}

// --- callbacks: noexcept, without calls into PostgreSQL --------------------------------------------------------------

// A server that closes idle connections may have closed several of ours. After the second attempt, libcurl must open a
// new connection. Otherwise it would try all of them and give up after five.
int Transfer::on_attempt(void* transfer, char*, char*, int, int) noexcept {
  Transfer& self = *static_cast<Transfer*>(transfer);
  if (++self.attempts_ == 2) curl_easy_setopt(self.easy_.get(), CURLOPT_FRESH_CONNECT, 1L);
  return CURL_PREREQFUNC_OK;
}

// A result other than 0 tells libcurl not to start the look-up.
int Transfer::on_lookup(void*, void*, void* transfer) noexcept {
  try {
    return static_cast<Transfer*>(transfer)->start_lookup() ? 0 : 1;
  } catch (const std::exception&) {
    return 1;
  }
}

// libcurl also calls this for addresses and for the proxy's name. Neither counts as a look-up.
bool Transfer::start_lookup() {
  const std::string name = host();
  if (name.starts_with('[') || IpAddress::parse(name) || !settings_.proxy.empty() || looks_up_) return true;
  lookup_start_ = lookups_.start(name, std::chrono::steady_clock::now());
  looks_up_ = lookup_start_ == Lookups::Start::kStarted;
  return looks_up_;
}

void Transfer::end_lookup(bool answered) {
  if (!looks_up_) return;
  looks_up_ = false;
  if (answered) {
    lookups_.end();
  } else {
    lookups_.abandon(host(), std::chrono::steady_clock::now());
  }
}

curl_socket_t Transfer::on_open_socket(void* transfer, curlsocktype purpose, curl_sockaddr* address) noexcept {
  if (purpose != CURLSOCKTYPE_IPCXN) return CURL_SOCKET_BAD;
  return static_cast<Transfer*>(transfer)->open_socket(*address);
}

curl_socket_t Transfer::open_socket(const curl_sockaddr& address) noexcept {
  if (looks_up_) {
    looks_up_ = false;
    lookups_.end();
  }
  const auto judged = to_address(address);
  if (!judged) return CURL_SOCKET_BAD;
  // With a proxy, the only address seen here is the proxy's, which the DBA chose. The proxy connects to the webhook's
  // host.
  if (settings_.proxy.empty()) {
    if (const auto refusal = settings_.address_policy.refusal(judged->first)) {
      refusal_ = *refusal;
      refused_port_ = 0;
      return CURL_SOCKET_BAD;
    }
    if (!contains(settings_.allowed_ports, judged->second)) {
      refusal_ = "it is not one that webhooks may be sent to (webhook.allowed_ports)";
      refused_port_ = judged->second;
      return CURL_SOCKET_BAD;
    }
  }
  const int fd = socket(address.family, address.socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.protocol);
  if (fd < 0) {
    // A machine without IPv6 is no error: libcurl tries the host's other addresses.
    if (errno != EAFNOSUPPORT) socket_errno_ = errno;
    return CURL_SOCKET_BAD;
  }
  if (!poller_.opened(fd)) {
    close(fd);
    socket_errno_ = ENOMEM;
    return CURL_SOCKET_BAD;
  }
  socket_ = fd;
  awaits_peer_ = false;
  address_ = judged->first;
  port_ = judged->second;
  ++sockets_opened_;
  return fd;
}

int Transfer::on_close_socket(void* poller, curl_socket_t socket) noexcept {
  static_cast<Poller*>(poller)->closing(socket);
  return close(socket);
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* transfer) noexcept {
  Transfer& self = *static_cast<Transfer*>(transfer);
  self.header_bytes_ += size * count;
  if (self.header_bytes_ > kHeaderBytesMax) {
    self.headers_oversized_ = true;
    return CURL_WRITEFUNC_ERROR;
  }
  try {
    self.read_header({data, size * count});
  } catch (const std::exception&) {
    return CURL_WRITEFUNC_ERROR;
  }
  return self.is_length_bad_ ? CURL_WRITEFUNC_ERROR : size * count;
}

void Transfer::read_header(std::string_view line) {
  if (!in_headers_ && line.starts_with("HTTP/")) {
    in_headers_ = true;
    // Earlier fields belonged to a 1xx response.
    kept_fields_.clear();
    response_.retry_after.clear();
    response_.encoding.clear();
    location_.clear();
    length_.clear();
    is_transfer_encoded_ = false;
  } else if (trimmed(line).empty()) {
    in_headers_ = false;  // fields after the body are trailers
  } else if (in_headers_) {
    keep_field(line);
    read_field(line);
  }
}

void Transfer::read_field(std::string_view line) {
  const std::size_t colon = std::min(line.find(':'), line.size() - 1);
  const std::string_view name = line.substr(0, colon + 1);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (begins_with_name(name, "retry-after:")) {
    response_.retry_after = value.substr(0, kRetryAfterBytesMax);
  } else if (begins_with_name(name, "location:")) {
    location_ = value.substr(0, kLocationBytesMax + 1);
  } else if (begins_with_name(name, "content-length:")) {
    // RFC 9112, section 6.3: without a valid length, the end of the response is unknown.
    const bool is_number = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    is_length_bad_ = !is_number || (!length_.empty() && length_ != value);
    length_ = value;
  } else if (begins_with_name(name, "content-encoding:")) {
    if (!begins_with_name(value, "identity") && !value.empty()) response_.encoding = value.substr(0, kEncodingBytesMax);
  } else if (begins_with_name(name, "transfer-encoding:")) {
    // Several lines form one list.
    if (begins_with_name(value, "chunked") || begins_with_name(value, "identity")) return;
    is_transfer_encoded_ = true;
    response_.encoding = value.substr(0, kEncodingBytesMax);
  }
}

// The fields of every response are copied, because only its end tells whether it failed. The room was reserved, so that
// this allocates nothing. A line that begins with a blank continues the field before it (RFC 9112, section 5.2). It is
// left out: what masks a field by its name must mask all of it.
void Transfer::keep_field(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with(' ') || line.starts_with('\t')) return;
  const bool is_cut = line.size() > kKeptFieldBytesMax;
  if (is_cut) line = line.substr(0, kKeptFieldBytesMax);
  if (kept_fields_.size() + line.size() + kCut.size() > kKeptHeaderBytesMax) return;
  kept_fields_.append(line).append(is_cut ? kCut : kCut.substr(kCut.size() - 1));
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* transfer) noexcept {
  Transfer& self = *static_cast<Transfer*>(transfer);
  // Newer versions of libcurl end such a response before they get here.
  if (self.is_transfer_encoded_) {
    self.body_cut_ = true;
    return CURL_WRITEFUNC_ERROR;
  }
  const std::size_t bytes = size * count;
  const std::size_t stored_max = self.settings_.response_body_bytes_max;
  self.body_bytes_ += bytes;
  try {
    std::string& body = self.response_.body;
    body.append(data, std::min(bytes, stored_max - body.size()));
  } catch (const std::exception&) {
    return CURL_WRITEFUNC_ERROR;
  }
  // A short rest is read to keep the connection. Reading a long one costs more than a new connection.
  if (self.body_bytes_ > stored_max + kDiscardedBodyBytesMax) {
    self.body_cut_ = true;
    return CURL_WRITEFUNC_ERROR;
  }
  return bytes;
}

// --- what became of it -----------------------------------------------------------------------------------------------

HttpResponse Transfer::finish(CURLcode code, SteadyTime now) {
  end_lookup(code != CURLE_OPERATION_TIMEDOUT && code != CURLE_ABORTED_BY_CALLBACK);
  CURL* const easy = easy_.get();
  response_.token = request_.token;
  response_.elapsed = std::chrono::duration_cast<Duration>(now - started_);
  if (begun_) response_.status = static_cast<int>(info<long>(easy, CURLINFO_RESPONSE_CODE));
  // libcurl accepts a status line followed by the end of the connection as a complete response.
  if (code == CURLE_OK && in_headers_) code = CURLE_PARTIAL_FILE;
  // This code can only be about a transfer encoding, because bodies are not decoded.
  if (code == CURLE_BAD_CONTENT_ENCODING && response_.status >= 200) {
    body_cut_ = true;
    if (response_.encoding.empty()) response_.encoding = "a transfer encoding";
  }
  if (code == CURLE_OK || body_cut_) {
    response_.outcome = HttpOutcome::kResponse;
    if (response_.status >= 300 && response_.status <= 399) {
      response_.redirect_host = redirect_host(request_.url.text(), location_);
    }
  } else {
    if (response_.status < 200) response_.status = 0;  // a 1xx, with nothing after it
    auto [outcome, error] = failure(code);
    response_.outcome = outcome;
    response_.error = std::move(error);
  }
  // A tenant must not see the proxy's address.
  if (was_connected() && settings_.proxy.empty()) {
    if (const char* const ip = info<char*>(easy, CURLINFO_PRIMARY_IP)) response_.remote_ip = ip;
  }
  const bool is_success =
      response_.outcome == HttpOutcome::kResponse && response_.status >= 200 && response_.status <= 299;
  if (response_.status != 0 && (!is_success || request_.keeps_all_headers)) {
    response_.headers = storable_headers(kept_fields_, request_.custom_headers);
  }
  HttpResponse response = std::move(response_);
  is_reusable_ = response.outcome == HttpOutcome::kResponse && !body_cut_ && attempts_ == 1 && sockets_opened_ <= 1;
  reset();
  return response;
}

void Transfer::reset() {
  set(easy_.get(), CURLOPT_CURLU, static_cast<CURLU*>(nullptr));  // request_ owned it
  request_ = {};
  header_list_.clear();
  error_buffer_[0] = '\0';
  response_ = {};
  header_bytes_ = body_bytes_ = 0;
  begun_ = awaits_peer_ = in_headers_ = headers_oversized_ = is_transfer_encoded_ = body_cut_ = is_length_bad_ = false;
  kept_fields_.clear();
  location_.clear();
  length_.clear();
  refusal_ = {};
  lookup_start_ = Lookups::Start::kStarted;
  socket_ = -1;
  refused_port_ = sockets_opened_ = attempts_ = socket_errno_ = port_ = 0;
}

Transfer::Failure Transfer::failure(CURLcode code) const {
  if (headers_oversized_) {
    return {HttpOutcome::kOversized,
            "the response's headers are longer than " + std::to_string(kHeaderBytesMax) + " bytes"};
  }
  if (is_length_bad_) {
    return {HttpOutcome::kOther, "the response is not HTTP: its Content-Length is not a length"};
  }
  if (lookup_start_ == Lookups::Start::kHostIsSilent) {
    return {HttpOutcome::kDns, "too many look-ups of host " + host() + " are unanswered"};
  }
  // Other hosts caused this, so it does not count as this host's kDns.
  if (lookup_start_ == Lookups::Start::kTooMany) {
    return {HttpOutcome::kOther, "too many look-ups of host names are unanswered"};
  }
  if (const long status = proxy_refusal(); status != 0) {
    return {HttpOutcome::kConnect, "the proxy refused to connect to the host: HTTP status " + std::to_string(status)};
  }
  if (awaits_tunnel()) {
    if (auto failed = tunnel_failure(code)) return *std::move(failed);
  }
  // libcurl has its own bound for a line, so an endless line never reaches on_header().
  if ((code == kLineTooLong || code == CURLE_OUT_OF_MEMORY) && request_was_sent() && body_bytes_ == 0) {
    return {HttpOutcome::kOversized, "a line of the response's headers is too long"};
  }
  switch (code) {
    case CURLE_BAD_FUNCTION_ARGUMENT:
      return {HttpOutcome::kOther, "a header of the request is not a line of the form Name: value"};
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_LOGIN_DENIED:
      return url_failure(code);
    case CURLE_COULDNT_RESOLVE_HOST:
      return {HttpOutcome::kDns, "could not resolve host " + host()};
    case CURLE_COULDNT_RESOLVE_PROXY:
      return {HttpOutcome::kDns, "could not resolve the host of webhook.proxy"};
    case CURLE_OPERATION_TIMEDOUT:
      return timeout_failure();
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CACERT_BADFILE:
      return {HttpOutcome::kTls, "TLS: " + tls_problem(code)};
    case CURLE_RECV_ERROR:
      // The code covers broken chunks as well as socket failures.
      if (response_.status >= 200 && !in_headers_ && !is_socket_failure(error_buffer_.data())) {
        return {HttpOutcome::kOther, "the response is not HTTP: its chunks are broken"};
      }
      [[fallthrough]];
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
      return request_was_sent() ? disconnect_failure() : connect_failure();
    case CURLE_WEIRD_SERVER_REPLY:
      return {HttpOutcome::kOther, "the response is not HTTP: " + format_problem(code)};
    default:
      break;
  }
  if (!request_was_sent() && (sockets_opened_ > 0 || socket_errno_ != 0 || !refusal_.empty())) return connect_failure();
  return {HttpOutcome::kOther, curl_message(code)};
}

// For requests without a connection.
Transfer::Failure Transfer::connect_failure() const {
  if (sockets_opened_ == 0 && socket_errno_ != 0) {
    return {HttpOutcome::kOther, "could not open a socket: " + std::generic_category().message(socket_errno_)};
  }
  if (sockets_opened_ == 0 && !refusal_.empty()) {
    // The message leaves out the address, because a tenant must not learn what an internal name resolves to.
    const std::string what = refused_port_ == 0 ? "address" : "port " + std::to_string(refused_port_);
    return {HttpOutcome::kBlocked, what + " refused: " + std::string(refusal_)};
  }
  const auto os_errno = static_cast<int>(info<long>(easy_.get(), CURLINFO_OS_ERRNO));
  if (os_errno == ECONNREFUSED) return {HttpOutcome::kConnect, "connection refused by " + peer()};
  if (os_errno != 0) {
    return {HttpOutcome::kConnect, "could not connect to " + peer() + ": " + std::generic_category().message(os_errno)};
  }
  return {HttpOutcome::kConnect, "could not connect to " + peer()};
}

Transfer::Failure Transfer::timeout_failure() const {
  if (request_was_sent() && !awaits_handshake()) {
    const std::string within = " within " + std::to_string(timeout_ms_) + " ms";
    return {HttpOutcome::kTimeout, (response_.status == 0 ? "no response" : "no complete response") + within};
  }
  // The shorter of the two timeouts ended the request. If that was the connect timeout, say what it waited for.
  const bool by_connect_timeout = connect_timeout_ms_ < timeout_ms_;
  const std::string within = " within " + std::to_string(connect_timeout_ms_) + " ms";
  if (sockets_opened_ == 0) {
    return {by_connect_timeout ? HttpOutcome::kDns : HttpOutcome::kTimeout,
            "could not resolve host " + host() + within};
  }
  if (!was_connected()) {
    return {by_connect_timeout ? HttpOutcome::kConnect : HttpOutcome::kTimeout,
            "could not connect to " + peer() + within};
  }
  return {by_connect_timeout ? HttpOutcome::kTls : HttpOutcome::kTimeout,
          "TLS: no complete handshake with " + (awaits_handshake() ? "host " + host() : peer()) + within};
}

// libcurl reports failures of the tunnel as if they were the receiver's, although the proxy has not connected to it.
std::optional<Transfer::Failure> Transfer::tunnel_failure(CURLcode code) const {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Failure{connect_timeout_ms_ < timeout_ms_ ? HttpOutcome::kConnect : HttpOutcome::kTimeout,
                     "the proxy has not connected to the host within " + std::to_string(connect_timeout_ms_) + " ms"};
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_COULDNT_CONNECT:
      // These codes don't tell the causes apart, and libcurl's messages change between versions.
      return Failure{HttpOutcome::kConnect,
                     "the proxy did not connect to the host: it closed the connection, or did not answer in HTTP"};
    default:
      return std::nullopt;
  }
}

std::string Transfer::tls_problem(CURLcode code) const {
  if (code == CURLE_SSL_CACERT_BADFILE) {
    return "the certificates that are trusted cannot be read: " +
           (settings_.ca_file.empty() ? std::string("the server's own") : settings_.ca_file);
  }
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    const long verified = info<long>(easy_.get(), CURLINFO_SSL_VERIFYRESULT);
    // libcurl checks the host's name itself and leaves the verify result unchanged.
    const bool is_of_another_host = verified == X509_V_OK || verified == X509_V_ERR_UNSPECIFIED ||
                                    verified == X509_V_ERR_HOSTNAME_MISMATCH ||
                                    verified == X509_V_ERR_IP_ADDRESS_MISMATCH;
    if (is_of_another_host) return "the certificate has another name than " + host();
    return X509_verify_cert_error_string(verified);
  }
  const std::string_view reason = openssl_reason(error_buffer_.data());
  if (reason.empty()) return "the handshake failed";
  if (const auto means = meaning_of(reason, kTlsMeanings))
    return std::string(*means) + " (" + std::string(reason) + ")";
  return "the handshake failed (" + std::string(reason) + ")";
}

std::string Transfer::format_problem(CURLcode code) const {
  if (response_.status == 0) return "it does not begin with a status line";
  return std::string(meaning_of(curl_message(code), kFormatMeanings).value_or("a header is malformed"));
}

Transfer::Failure Transfer::url_failure(CURLcode code) const {
  if (auto problem = url_problem(request_.url.text(), settings_.allow_http)) {
    return {HttpOutcome::kBadUrl, "invalid URL: " + *problem};
  }
  if (auto problem = port_problem(request_.url.text(), settings_.allowed_ports)) {
    return {HttpOutcome::kBlocked, "invalid URL: " + *problem};
  }
  // libcurl has the same code for a protocol that it may not use and for a reply in an unknown protocol.
  if (request_was_sent()) return {HttpOutcome::kOther, "the response is not HTTP: " + format_problem(code)};
  return {HttpOutcome::kBadUrl, "invalid URL: " + curl_message(code)};
}

Transfer::Failure Transfer::disconnect_failure() const {
  // CURLINFO_OS_ERRNO is not reliable here: it may come from an earlier attempt.
  const std::string reset = std::generic_category().message(ECONNRESET);
  const bool was_reset = std::string_view(error_buffer_.data()).find(reset) != std::string_view::npos;
  const std::string how = was_reset ? "the connection was reset " : "the connection was closed ";
  return {HttpOutcome::kDisconnected, how + (response_.status == 0 ? "before a response came" : "within the response")};
}

std::string Transfer::peer() const {
  if (!settings_.proxy.empty()) return "the proxy";
  if (sockets_opened_ == 0) return "host " + host();
  return to_text(address_) + " port " + std::to_string(port_);
}

std::string Transfer::host() const { return url_host(request_.url.text()); }

// libcurl's message, made safe for a log: printable, and without the confidential parts of the URL.
std::string Transfer::curl_message(CURLcode code) const {
  std::string text = error_buffer_[0] != '\0' ? error_buffer_.data() : curl_easy_strerror(code);
  const std::size_t query = request_.url.text().find('?');
  const bool has_user = request_.url.text().find('@') < query;
  if (has_user || (query != std::string::npos && text.find(request_.url.text().substr(query)) != std::string::npos)) {
    text = curl_easy_strerror(code);
  }
  std::replace_if(
      text.begin(), text.end(), [](char character) { return character < 0x20 || character > 0x7e; }, '?');
  return text;
}

// The status of the proxy's answer to CONNECT if it refused, else 0.
long Transfer::proxy_refusal() const {
  const long status = begun_ ? info<long>(easy_.get(), CURLINFO_HTTP_CONNECTCODE) : 0;
  return status >= 300 ? status : 0;
}

// Whether the request needs CONNECT on the connection that was made for it. A reused connection has its tunnel already.
bool Transfer::makes_tunnel() const {
  const bool is_http_proxy = !settings_.proxy.empty() && !settings_.proxy.starts_with("socks");
  return is_http_proxy && begins_with_name(request_.url.text(), "https:") && sockets_opened_ > 0 && was_connected();
}

bool Transfer::awaits_tunnel() const {
  return makes_tunnel() && info<long>(easy_.get(), CURLINFO_HTTP_CONNECTCODE) == 0;
}

// Whether the TLS handshake with the host, through the tunnel, is not complete.
bool Transfer::awaits_handshake() const {
  return makes_tunnel() && !awaits_tunnel() && info<curl_off_t>(easy_.get(), CURLINFO_APPCONNECT_TIME_T) == 0;
}

// Whether TCP is connected. The TLS handshake may still be incomplete.
bool Transfer::was_connected() const {
  return request_was_sent() || awaits_peer_ || (begun_ && info<curl_off_t>(easy_.get(), CURLINFO_CONNECT_TIME_T) > 0);
}

// CONNECT also counts as a request.
bool Transfer::request_was_sent() const { return begun_ && info<long>(easy_.get(), CURLINFO_REQUEST_SIZE) > 0; }

}  // namespace webhook
