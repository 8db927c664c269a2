import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // Relative, so that one build serves a root, a sub-path and a function URL.
  base: "./",
  plugins: [react(), tailwindcss()],
  build: {
    // The first browsers with light-dark().
    target: ["chrome123", "firefox125", "safari17.5"],
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
    modulePreload: false,
  },
  server: {
    host: "127.0.0.1",
    port: 3101,
    proxy: { "/api": process.env.AURORA_API ?? "http://127.0.0.1:3102" },
  },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    env: { TZ: "UTC" },
    // Only for tests that hang: this is not about speed.
    testTimeout: 60_000,
  },
});
