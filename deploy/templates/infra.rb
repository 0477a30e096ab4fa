# UNTESTED: a template of a Homebrew formula; Infra is not built for macOS by this repository. Replace what is in capitals.
class Infra < Formula
  desc "Sign in to infrastructure from the terminal"
  homepage "HOMEPAGE"
  url "HOMEPAGE/releases/download/vVERSION/infra-VERSION.tar.gz"
  sha256 "SHA256_OF_THE_SOURCES"
  license "Apache-2.0"

  depends_on "rust" => :build

  def install
    ENV["AWS_LC_SYS_NO_JITTER_ENTROPY"] = "1"
    system "cargo", "install", *std_cargo_args(path: "cli")
    man1.install Dir["man/infra.1", "man/infra-*.1"]
    bash_completion.install "completions/infra.bash" => "infra"
    zsh_completion.install "completions/_infra"
    fish_completion.install "completions/infra.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/infra --version")
    assert_match "logged_out", shell_output("INFRA_HOME=#{testpath}/.infra #{bin}/infra status --json", 3)
  end
end
