export default {
  base: "/react/",
  esbuild: { jsx: "automatic" },
  // The second one shows the component of the documentation.
  build: { rollupOptions: { input: ["index.html", "documented.html"] } },
};
