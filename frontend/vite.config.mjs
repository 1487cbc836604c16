import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The built pages lie in the Python package, which serves them and ships them in its wheel.
export default defineConfig({
  plugins: [svelte()],
  build: { outDir: "../src/sarcoscope/web/pages", emptyOutDir: true, chunkSizeWarningLimit: 900 },
  server: { proxy: { "/api": "http://127.0.0.1:8010" } },
});
