# A formula for a tap. Never run: Homebrew is missing where it was written.
class Infra < Formula
  desc "Sign in to infrastructure from the terminal"
  homepage "@URL@"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "@URL@/releases/download/v@VERSION@/infra-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:infra-@VERSION@-aarch64-apple-darwin.tar.gz@"
    end
    on_intel do
      url "@URL@/releases/download/v@VERSION@/infra-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:infra-@VERSION@-x86_64-apple-darwin.tar.gz@"
    end
  end

  on_linux do
    on_arm do
      url "@URL@/releases/download/v@VERSION@/infra-@VERSION@-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:infra-@VERSION@-aarch64-unknown-linux-gnu.tar.gz@"
    end
    on_intel do
      url "@URL@/releases/download/v@VERSION@/infra-@VERSION@-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:infra-@VERSION@-x86_64-unknown-linux-gnu.tar.gz@"
    end
  end

  def install
    bin.install "bin/infra"
    man1.install Dir["share/man/man1/*.1"]
    bash_completion.install "share/completions/infra.bash" => "infra"
    zsh_completion.install "share/completions/_infra"
    fish_completion.install "share/completions/infra.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/infra --version")
    assert_match "logged_out", shell_output("INFRA_HOME=#{testpath}/.infra #{bin}/infra status --json", 3)
  end
end
